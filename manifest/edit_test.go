package manifest_test

import (
	"bytes"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/manifest"
)

const written = `# My detector.

apiVersion: pynomaly.io/v1
kind: Model
id: mine   # as people know it
version: 1.0.0
backend: wasm

# The matrix.
features:
  - {name: x, dtype: float64}
  # and another
  - {name: "y", dtype: float64}
threshold: 1 # a guess
artifact: m.wasm
# The end.
`

// TestEdit checks that only the named keys change.
func TestEdit(t *testing.T) {
	m, err := manifest.Decode([]byte(written))
	if err != nil {
		t.Fatal(err)
	}
	m = m.Clone()
	threshold := 2.5
	m.Threshold, m.Description = &threshold, "not to be written"
	m.Calibration = &manifest.Calibration{Method: manifest.CalibrateMidrank, Scores: "s.f64"}
	got, err := manifest.Edit([]byte(written), m, "threshold", "calibration", "drift")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer("threshold: 1 # a guess\n", "threshold: 2.5\n", "artifact: m.wasm\n", "artifact: m.wasm\ncalibration: {method: ecdf_midrank, scores: s.f64}\n").Replace(written)
	if string(got) != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	m.Threshold = nil
	if got, err = manifest.Edit([]byte(strings.TrimSuffix(written, "# The end.\n")), m, "threshold", "features"); err != nil || strings.Contains(string(got), "threshold") || strings.Contains(string(got), "and another") || !strings.Contains(string(got), "# The matrix.\nfeatures:\n  - name: x\n") {
		t.Errorf("%s, %v", got, err)
	}
	const flow = `{"apiVersion": "pynomaly.io/v1", "kind": "Model", "id": "mine", "version": "1.0.0", "backend": "wasm", "artifact": "m.wasm", "threshold": 7}`
	if got, err = manifest.Edit([]byte(flow), m, "threshold", "calibration"); err != nil {
		t.Fatal(err)
	}
	if again, err := manifest.Decode(got); err != nil || again.Threshold != nil || again.Calibration == nil || again.ID != "mine" || !bytes.HasPrefix(got, []byte(`{"apiVersion": "pynomaly.io/v1"`)) {
		t.Errorf("%s: %+v, %v", got, again, err)
	}
	for _, text := range []string{"", "- 1", "a: [", "7"} {
		if got, err := manifest.Edit([]byte(text), m, "threshold"); err == nil {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// FuzzEdit checks that a manifest decodes to what was asked for after any edit, and that
// nothing else of it changes.
func FuzzEdit(f *testing.F) {
	full, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range []string{written, string(full), strings.ReplaceAll(written, "\n", "\r\n"), "--- \n" + written + "...\n", "? id\n: x\n", `{"id": 1}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := manifest.Decode(text)
		if err != nil {
			return
		}
		want := m.Clone()
		threshold := 2.5
		want.Threshold = &threshold
		want.Confidence = nil
		edited, err := manifest.Edit(text, want, "threshold", "confidence")
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		got, err := manifest.Decode(edited)
		if err != nil {
			t.Fatalf("%q became %q: %v", text, edited, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q became %q: %+v, want %+v", text, edited, got, want)
		}
	})
}
