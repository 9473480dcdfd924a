package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKeys checks that a key is made, listed, rotated and revoked, in the named file
// or the configuration's, and that only a new key is printed.
func TestKeys(t *testing.T) {
	dir := t.TempDir()
	file, conf := filepath.Join(dir, "keys.yaml"), filepath.Join(dir, "plugins.yaml")
	if err := os.WriteFile(conf, []byte("auth: {keys: "+file+", roles: {sampler: [read, samples]}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		out, errs, err := command(t, nil, append([]string{"key"}, args...)...)
		if err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		if strings.Contains(errs, "pyn_") {
			t.Errorf("%q: the key is in %s", args, errs)
		}
		return out
	}
	id := func(key string) string {
		t.Helper()
		parts := strings.Split(strings.TrimSpace(key), "_")
		if len(parts) != 3 || parts[0] != "pyn" || len(parts[1]) != 8 {
			t.Fatalf("the key is %q", key)
		}
		return parts[1]
	}
	first := id(run("create", "--role", "operator", "--file", file, "--name", "ci", "--models", "fraud*,cardio", "--expires", "90d"))
	second := id(run("create", "--role", "sampler", "--config", conf))
	third := id(run("rotate", first, "--overlap", "12h", "--file", file, "--config", conf))
	run("revoke", second, "--file", file, "--config", conf)
	list := run("list", "--config", conf)
	for id, want := range map[string][]string{
		first: {"active", "operator", "fraud*,cardio", "ci"}, second: {"revoked", "sampler", "*"}, third: {"active", "operator", "fraud*,cardio", "ci"},
	} {
		found := false
		for line := range strings.Lines(list) {
			if !strings.HasPrefix(line, id) {
				continue
			}
			found = true
			for _, w := range want {
				if !strings.Contains(line, w) {
					t.Errorf("%q does not say %q", line, w)
				}
			}
		}
		if !found {
			t.Errorf("%s is not listed in\n%s", id, list)
		}
	}
	for line, want := range map[string]string{
		"create --role viewer --config " + filepath.Join(dir, "none.yaml"):      "none.yaml",
		"create --role owner --file " + file + " --config " + conf:              "there is no role",
		"create --role viewer --models , --file " + file:                        "--models is empty",
		"create --role viewer --models a/b --file " + file:                      "not a pattern of models",
		"create --role viewer --expires soon --file " + file:                    "--expires",
		"create --role viewer --expires -1h --file " + file:                     "--expires",
		"create --file " + file:                                                 `required flag(s) "role"`,
		"revoke zzzzzzzz --file " + file + " --config " + conf:                  "no such key",
		"rotate " + second + " --file " + file + " --config " + conf:            "is revoked",
		"rotate " + first + " --overlap x --file " + file + " --config " + conf: "--overlap",
		"list --file " + filepath.Join(dir, "none.yaml"):                        "none.yaml",
	} {
		if out, _, err := command(t, nil, append([]string{"key"}, strings.Fields(line)...)...); err == nil || !strings.Contains(err.Error(), want) || out != "" {
			t.Errorf("%s: %q, %v, want %q", line, out, err, want)
		}
	}
	t.Setenv("PYNOMALY_AUTH_KEYS", "")
	if _, _, err := command(t, nil, "key", "list"); err == nil || !strings.Contains(err.Error(), "auth.keys") {
		t.Error(err)
	}
}
