//go:build cgo

package onnx_test

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

var update = flag.Bool("update", false, "write golden files")

// TestExports writes down what becomes of the graphs that exporters write for tree ensembles:
// which outputs are scored in Go, and why ONNX Runtime scores the others. Scores must be
// those of ONNX Runtime, except for 1e-6 of the largest one.
func TestExports(t *testing.T) {
	b := testkit.ONNX(t, t.TempDir())
	files, err := filepath.Glob("testdata/exports/*.onnx")
	if err != nil || len(files) < 50 {
		t.Fatal(len(files), err)
	}
	var lines []string
	for _, file := range files {
		g := unzipped(t, file)
		for _, o := range g.Outputs {
			if o.Elem == graph.Int64 {
				continue // a label is no score
			}
			a, err := artifact(t, b, file, func(m *manifest.Manifest) {
				m.Output.Name = o.Name
				if len(o.Dims) == 2 && o.Dims[1] > 1 {
					last := int(o.Dims[1]) - 1
					m.Output.Column = &last
				}
			})
			line := fmt.Sprintf("%s %s: ", strings.TrimSuffix(filepath.Base(file), ".onnx"), o.Name)
			if err == nil {
				line += engineFor(t, b, a, g)
			} else {
				line += "not served: " + err.Error()
			}
			lines = append(lines, line)
		}
	}
	got := strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.WriteFile("testdata/exports.txt", []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/exports.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("exports are served otherwise than testdata/exports.txt says; -update writes:\n%s", got)
	}
}

func unzipped(t *testing.T, file string) *graph.Model {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	g, err := graph.Check(data, graph.Limits{})
	if err == nil {
		g, err = g.Unzipped(graph.Limits{})
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return g
}

// engineFor says what scores an output, after it has compared a plan with ONNX Runtime.
func engineFor(t *testing.T, b *onnx.Backend, a backends.Artifact, g *graph.Model) string {
	t.Helper()
	p, trial, err := onnx.Recognise(a, g)
	if err != nil {
		return err.Error()
	}
	s, err := b.Session(g.Encode(), a)
	if err != nil {
		t.Fatalf("%s: %v", a.Digest, err)
	}
	defer s.Close()
	const rows = 600
	in := trialOf(t, p, trial, a.Manifest.SDKFeatures(), rows, 1)
	want, got := make([]float64, rows), make([]float64, rows)
	if err := errors.Join(s.Score(t.Context(), in, want), p.Score(t.Context(), in, got)); err != nil {
		t.Fatalf("%s: %v", a.Digest, err)
	}
	scale := 0.0
	for _, v := range want {
		if !math.IsInf(v, 0) {
			scale = max(scale, math.Abs(v))
		}
	}
	for i, w := range want {
		same := w == got[i] || (math.IsNaN(w) && math.IsNaN(got[i])) || math.Abs(w-got[i]) <= 1e-6*scale
		if !same {
			t.Errorf("%s, output %s: row %d scores %v in ONNX Runtime, %v in the plan", a.Digest, a.Manifest.Output.Name, i, w, got[i])
		}
	}
	return fmt.Sprintf("a forest of %d trees and %d steps", p.Trees(), p.Steps())
}
