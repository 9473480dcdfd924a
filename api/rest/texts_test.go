package rest_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// TestTextsForOperators checks that only callers who may manage the host see what a
// plugin printed and where its files are. Everybody sees what the host itself found
// wrong with a model's files.
func TestTextsForOperators(t *testing.T) {
	dir := t.TempDir()
	write := func(id, more string) {
		t.Helper()
		at := filepath.Join(dir, id, "1.0.0")
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		text := "apiVersion: pynomaly.io/v1\nkind: Model\nid: " + id + "\nversion: 1.0.0\nbackend: process\nfeatures: [{name: a, dtype: float64}]\n" + more
		for name, data := range map[string]string{"model.yaml": text, "run": "#!/bin/sh\n"} {
			if err := os.WriteFile(filepath.Join(at, name), []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("words", "command: [printf, \"SECRET of another caller\\\\n\"]\n")
	write("damaged", "artifact: run\ndigest: sha256:"+strings.Repeat("0", 64)+"\n")
	write("forbidden", "artifact: run\n")
	b := testkit.Processes(t, filepath.Join(dir, "words"), nil)
	// On an address that other machines reach, a caller is an operator if no proxy
	// forwarded the request.
	visitors := func(c *access.Config) { c.Anonymous = person(t, "viewer", access.AllModels()) }
	h := testkit.Serve(t, testkit.Options{Dir: dir, Backends: model.Backends{manifest.BackendProcess: b}, REST: func(c *rest.Config) { c.Loopback, c.Gate = false, gateOf(t, access.RunKey, visitors) }})
	ask := func(path, body string, operator bool) string {
		t.Helper()
		method := http.MethodGet
		if body != "" {
			method = http.MethodPost
		}
		req, err := http.NewRequest(method, h.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if !operator {
			req.Header.Set("X-Forwarded-For", "192.0.2.1")
		}
		resp, err := client(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	const words, says = "SECRET of another caller", "the process backend refuses it: the host's log says why"
	for _, c := range []struct{ path, body, private, public string }{
		{"/api/v1/models", "", words, says},
		{"/api/v1/models/words", "", words, says},
		{"/api/v1/models/forbidden", "", dir, says},
		{"/api/v1/models/damaged", "", "", "run has digest sha256:"},
		{"/api/v1/predict", `{"model_id":"words","data":[1]}`, words, says},
		{"/api/v1/predict", `{"model_id":"damaged","data":[1]}`, "", "run has digest sha256:"},
		{"/ready", "", "", "none of the 3 versions found could be loaded: damaged@1.0.0 was not loaded: run has digest"},
	} {
		if got := ask(c.path, c.body, true); !strings.Contains(got, c.private) || c.private == "" && !strings.Contains(got, c.public) {
			t.Errorf("an operator is told of %s: %s", c.path, got)
		}
		if got := ask(c.path, c.body, false); strings.Contains(got, "SECRET") || strings.Contains(got, dir) || !strings.Contains(got, c.public) {
			t.Errorf("everybody is told of %s: %s", c.path, got)
		}
	}
}
