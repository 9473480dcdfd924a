package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestForests checks that inspect says what scores a model, for each value of
// backends.onnx.forests, with the library and without it.
func TestForests(t *testing.T) {
	forest, other := testkit.Testdata("models", "cardio-iforest-fused", "1.0.0"), testkit.Testdata("variants", "plain-sum.onnx")
	library, none := testkit.Library(), filepath.Join(t.TempDir(), "none.so")
	for name, c := range map[string]struct {
		model, library, forests, want string
	}{
		"auto":                         {forest, library, "auto", "# a forest of 100 trees, evaluated by this host: proved: "},
		"off":                          {forest, library, "off", "# ONNX Runtime scores rows: backends.onnx.forests is off\n"},
		"only":                         {forest, library, "only", "# a forest of 100 trees, evaluated by this host: unproved: backends.onnx.forests is only"},
		"no library":                   {forest, none, "auto", "# a forest of 100 trees, evaluated by this host: unproved: there is no ONNX Runtime"},
		"no library, off":              {forest, none, "off", "hosts refuse it: "},
		"another graph":                {other, library, "auto", "# ONNX Runtime scores rows: the graph is not recognised: there is no tree, and no search for neighbours\n"},
		"another graph, only":          {other, library, "only", "hosts refuse it: "},
		"another graph and no library": {other, none, "auto", "without it only forests and searches for neighbours are served"},
	} {
		out, errs, err := command(t, nil, "model", "inspect", c.model, "--onnxruntime", c.library, "--onnx-forests", c.forests, "--state-dir", t.TempDir())
		if err != nil || !strings.Contains(out, c.want) {
			t.Errorf("%s: %v\n%.1500s%s", name, err, out, errs)
		}
	}
}
