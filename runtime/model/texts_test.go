package model_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
)

// TestOwnWords checks that everybody is told why the host refuses a model, and that
// only operators are told what a library says.
func TestOwnWords(t *testing.T) {
	with := testkit.Backends(t, t.TempDir())
	features := testkit.Patient("features: [{name: f0, dtype: float32}, {name: f1, dtype: float32}, {name: f2, dtype: float32}, {name: f3, dtype: float32}]\noutput: {name: score}\n")
	for _, c := range []struct{ file, manifest, public, private string }{
		{"suspicious/nonzero.onnx", features, "the onnx backend refuses it: checking the graph: operator NonZero", ""},
		{"variants/plain-sum.onnx", strings.Replace(features, ", {name: f3, dtype: float32}", "", 1), "the onnx backend refuses it: the manifest has 3 features", ""},
		{"bad/huge-alloc.onnx", strings.Replace(features, "name: score", "name: scores", 1) + "trusted: true\n", "the onnx backend refuses it: it needs more memory than limits.memory allows", "bad_alloc"},
		{"suspicious/rank3-output.onnx", features + "trusted: true\n", "the onnx backend refuses it: output", ""},
	} {
		t.Run(filepath.Base(c.file), func(t *testing.T) {
			dir := t.TempDir()
			text := "apiVersion: pynomaly.io/v1\nkind: Model\nid: m\nversion: 1.0.0\nbackend: onnx\nartifact: model.onnx\n" + c.manifest
			testkit.CopyFile(t, testkit.Testdata(filepath.FromSlash(c.file)), filepath.Join(dir, "model.onnx"))
			modeltest.Check(t, os.WriteFile(filepath.Join(dir, "model.yaml"), []byte(text), 0o600))
			place := modelstore.Place{Dir: dir, Location: catalog.Location{Dir: "."}}
			if strings.Contains(c.manifest, "trusted: true") {
				place.Policy.Trusted = []string{dir}
			}
			_, err := place.Open(t.Context(), with, batching.NewCalls(1))
			if err == nil {
				t.Fatal("it is served")
			}
			if public := backends.PublicText(err); !strings.HasPrefix(public, c.public) || c.private != "" && strings.Contains(public, c.private) {
				t.Errorf("everybody is told: %s", public)
			}
			if !strings.Contains(err.Error(), c.private) {
				t.Errorf("operators are told: %v", err)
			}
		})
	}
}
