package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestFitPage runs the commands of docs/fit.md.
func TestFitPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(testkit.Root(), "docs", "fit.md"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PYNOMALY_BACKENDS_ONNX_LIBRARY", testkit.Library())
	t.Chdir(t.TempDir())
	rows, err := os.ReadFile(testkit.Testdata("reference", "data", "pima-train.csv"))
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	lines := strings.Split(strings.TrimSpace(string(rows)), "\n")
	for i := range lines {
		label := ",label"
		if i > 0 {
			label = []string{",0", ",1"}[r.IntN(2)]
		}
		lines[i] = strings.TrimSpace(lines[i]) + label
	}
	if err := os.WriteFile("train.csv", []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, line := range strings.Split(string(page), "\n") {
		args, ok := strings.CutPrefix(line, "pynomaly-runtime ")
		if !ok {
			continue
		}
		ran++
		out, _, err := command(t, nil, strings.Fields(args)...)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		for _, want := range []string{"460 ", "training rows", "--contamination 0.05"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s printed no %q:\n%s", line, want, out)
			}
		}
	}
	if ran != 2 {
		t.Errorf("the page has %d commands", ran)
	}
}
