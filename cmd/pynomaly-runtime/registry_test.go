package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestRegistry checks that a model pushed to a real registry comes back unchanged
// and complete, or not at all, and that it must be the expected model.
func TestRegistry(t *testing.T) {
	stored := t.TempDir()
	address := testkit.Registry(t, stored, "")
	models, repo := testkit.Testdata("models"), address+"/models/ecod"
	push := func(name, to string) string {
		t.Helper()
		out, errs, err := command(t, nil, "model", "push", name, to, "--models", models, "--plain-http")
		if err != nil || !strings.Contains(errs, "content digest sha256:") {
			t.Fatalf("%v: %s%s", err, out, errs)
		}
		return strings.TrimSpace(out)
	}
	reference := push("ecod-c@1.0.0", repo)
	if again := push(filepath.Join(models, "ecod-c", "1.0.0"), repo+":stable"); again != reference || !strings.Contains(reference, "@sha256:") {
		t.Fatalf("%s, before %s", again, reference)
	}
	pull := func(dir string, args ...string) (string, error) {
		t.Helper()
		out, _, err := command(t, nil, append([]string{"model", "pull", "--plain-http", "--models", dir}, args...)...)
		return out, err
	}
	for _, tag := range []string{repo + ":1.0.0", repo + ":stable", reference} {
		dir := t.TempDir()
		killed, long := filepath.Join(dir, ".pull-killed"), time.Now().Add(-2*time.Hour)
		if err := errors.Join(os.MkdirAll(filepath.Join(killed, "model"), 0o750), os.Chtimes(killed, long, long)); err != nil { // goes
			t.Fatal(err)
		}
		out, err := pull(dir, tag, "--expect", "ecod-c@1.0.0")
		if err != nil {
			t.Fatal(err)
		}
		sameFiles(t, filepath.Join(models, "ecod-c", "1.0.0"), filepath.Join(dir, "ecod-c", "1.0.0"))
		if out2, err := pull(dir, tag); err != nil || out2 != out {
			t.Errorf("once more: %v: %s, before %s", err, out2, out)
		}
		if left, err := filepath.Glob(filepath.Join(dir, ".pull-*")); err != nil || len(left) > 0 {
			t.Errorf("%v, %v", left, err)
		}
	}
	changed := t.TempDir()
	if _, err := pull(changed, reference); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(changed, "ecod-c", "1.0.0", "model.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(text, "\n# changed\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	other := "sha256:" + strings.Repeat("0", 64)
	for name, c := range map[string]struct {
		dir  string
		args []string
		want string
	}{
		"another model is there": {changed, []string{reference}, "exists already with other contents"},
		"another is expected":    {t.TempDir(), []string{reference, "--expect", "ecod-c@2.0.0"}, "is ecod-c@1.0.0, not ecod-c@2.0.0"},
		"another digest":         {t.TempDir(), []string{reference, "--digest", other}, "not " + other},
		"no such tag":            {t.TempDir(), []string{repo + ":none"}, "not found"},
		"no tag":                 {t.TempDir(), []string{repo}, "names no version"},
		"no reference":           {t.TempDir(), []string{"nonsense"}, "is not <registry>/<repository>"},
		"nobody there":           {t.TempDir(), []string{"127.0.0.1:1/models/ecod:1.0.0"}, "connect"},
	} {
		if _, err := pull(c.dir, c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if left, err := os.ReadDir(c.dir); err != nil || (c.dir != changed && len(left) > 0) {
			t.Errorf("%s: %v is left, %v", name, left, err)
		}
	}
	if _, _, err := command(t, nil, "model", "pull", "--models", t.TempDir(), reference); err == nil || !strings.Contains(err.Error(), "--plain-http") {
		t.Errorf("with TLS: %v", err)
	}
	damage(t, stored)
	if _, err := pull(t.TempDir(), reference); err == nil {
		t.Error("a damaged file was taken")
	}
}

// damage changes one byte of each file that a registry stores.
func damage(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "docker/registry/v2/blobs/sha256/*/*/data"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v: %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if text[0] == '{' && strings.Contains(string(text), "artifactType") {
			continue // the manifest: what it names is to differ
		}
		text[len(text)/2] ^= 1
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func sameFiles(t *testing.T, want, got string) {
	t.Helper()
	files, err := os.ReadDir(got)
	if err != nil || len(files) == 0 {
		t.Fatalf("%v: %v", files, err)
	}
	for _, f := range files {
		a, errA := os.ReadFile(filepath.Join(want, f.Name()))
		b, errB := os.ReadFile(filepath.Join(got, f.Name()))
		if errA != nil || errB != nil || string(a) != string(b) {
			t.Errorf("%s is not the same: %v, %v", f.Name(), errA, errB)
		}
	}
}

// TestRegistryLogin checks that a registry that requires a password gets that of
// docker's configuration, and that the error says if there is none.
func TestRegistryLogin(t *testing.T) {
	dir := t.TempDir()
	users := filepath.Join(dir, "users")
	const user = "user:$2a$04$ynR68ra2ivlgWgtqcrHle.dZ9Wab4Gddx0Q/bmwg8uy7wZoiUXYnS" // secret
	config := filepath.Join(dir, "config.json")
	if err := os.WriteFile(users, []byte(user+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := testkit.Registry(t, filepath.Join(dir, "stored"), users)
	login := fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, address, base64.StdEncoding.EncodeToString([]byte("user:secret")))
	if err := os.WriteFile(config, []byte(login), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"model", "push", "ecod-c@1.0.0", address + "/ecod", "--models", testkit.Testdata("models"), "--plain-http"}
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	if _, _, err := command(t, nil, args...); err == nil || !strings.Contains(err.Error(), "log in") {
		t.Errorf("without a password: %v", err)
	}
	if _, _, err := command(t, nil, append(args, "--registry-config", config)...); err != nil {
		t.Error(err)
	}
	t.Setenv("DOCKER_CONFIG", dir)
	if _, _, err := command(t, nil, "model", "pull", address+"/ecod:1.0.0", "--models", t.TempDir(), "--plain-http"); err != nil {
		t.Error(err)
	}
	resp, err := http.Get("http://" + address + "/v2/ecod/tags/list")
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the registry lets everybody in: %v, %v", resp, err)
	}
}
