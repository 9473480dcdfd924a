package testkit

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

var distribution = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "pynomaly-registry-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "registry")
	cmd := exec.CommandContext(context.Background(), "go", "build", "-o", file, "github.com/distribution/distribution/v3/cmd/registry") //nolint:gosec // file is temporary
	cmd.Dir, cmd.Env = filepath.Join(Root(), "tools", "registry"), append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the registry: %w: %s", err, out)
	}
	return os.ReadFile(file)
})

// Registry starts an OCI registry, CNCF Distribution, without TLS, and returns its
// address. With an htpasswd file it asks for a name and password. It stores
// everything below dir.
func Registry(t testing.TB, dir, htpasswd string) string {
	t.Helper()
	program, err := distribution()
	if err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	file := filepath.Join(work, "registry")
	if err := os.WriteFile(file, program, 0o700); err != nil { //nolint:gosec // it is a program
		t.Fatal(err)
	}
	address := FreeAddress(t)
	config := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\n", dir, address)
	if htpasswd != "" {
		config += fmt.Sprintf("auth: {htpasswd: {realm: test, path: %q}}\n", htpasswd)
	}
	if err := os.WriteFile(filepath.Join(work, "config.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), file, "serve", filepath.Join(work, "config.yml")) //nolint:gosec // it was just built
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the registry printed:\n%s", &said)
		}
	})
	for range 600 {
		resp, err := http.Get("http://" + address + "/v2/") //nolint:noctx // the registry runs on this machine
		if err == nil {
			_ = resp.Body.Close()
			return address
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the registry does not answer")
	return ""
}
