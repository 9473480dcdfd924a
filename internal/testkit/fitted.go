package testkit

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/digest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/plugins"
	"github.com/pynomaly/pynomaly-runtime/plugins/fit"
)

// Training reads a CSV file of testdata/reference/data.
func Training(t testing.TB, name string) (header []string, d fit.Data) {
	t.Helper()
	f, err := os.Open(Testdata("reference", "data", name+".csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	d = fit.Data{Rows: len(all) - 1, Cols: len(all[0])}
	for _, record := range all[1:] {
		for _, cell := range record {
			v, err := strconv.ParseFloat(cell, 64)
			if err != nil {
				t.Fatal(err)
			}
			d.Values = append(d.Values, v)
		}
	}
	return all[0], d
}

// Fit writes dir/id/1.0.0: the module of a reference detector, fitted to rows of
// testdata/reference/data.
func Fit(t testing.TB, dir, id string, r plugins.Reference, data string) {
	t.Helper()
	fitAs(t, dir, id, r, data, manifest.BackendWASM, Detector(t, r.Name))
}

// fitAs does that for either form of a detector.
func fitAs(t testing.TB, dir, id string, r plugins.Reference, data, backend string, artifact []byte) {
	t.Helper()
	header, d := Training(t, data)
	o := fit.DefaultOptions()
	o.Window = 100
	result, err := r.Fit(d, o)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "apiVersion: pynomaly.io/v1\nkind: Model\nid: %s\nversion: 1.0.0\nbackend: %s\nartifact: detector.bin\n", id, backend)
	if r.Explains {
		text.WriteString("explanation: {method: native}\n")
	}
	if r.Stateful {
		text.WriteString("stateful: true\nlearning: online\n")
	}
	files := map[string][]byte{"detector.bin": artifact}
	text.WriteString("files:\n")
	for name, data := range result.Files {
		fmt.Fprintf(&text, "  %s: %s\n", name, digest.Of(data))
		files[name] = data
	}
	text.WriteString("features:\n")
	for _, name := range header {
		fmt.Fprintf(&text, "  - {name: %s, dtype: float64}\n", name)
	}
	files["model.yaml"] = []byte(Patient(text.String()))
	at := filepath.Join(dir, id, "1.0.0")
	if err := os.MkdirAll(at, 0o750); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(at, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// FittedModels returns a directory with all reference detectors, fitted to the pima
// rows.
func FittedModels(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, r := range plugins.All() {
		Fit(t, dir, "pima-"+r.Name, r, "pima-train")
	}
	return dir
}

// ProcessModels is like FittedModels with the detectors as process plugins.
func ProcessModels(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, r := range plugins.All() {
		fitAs(t, dir, "pima-"+r.Name, r, "pima-train", manifest.BackendProcess, Program(t, "./plugins/"+r.Name+"/process"))
	}
	return dir
}
