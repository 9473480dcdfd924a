package authoring

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/plugins/fit"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// TestFitKeeps checks what fitted models keep of the training rows, and that those that
// keep no row score the same.
func TestFitKeeps(t *testing.T) {
	modules, store := t.TempDir(), t.TempDir()
	a := Author{Store: modelstore.Store{Dir: store}, With: model.Backends{manifest.BackendWASM: testkit.WASM(t)}}
	train := testkit.Testdata("reference", "data", "pima-train.csv")
	for _, r := range Detectors() {
		if r.reference == nil || r.Name == "copod" {
			continue // its files are those of ecod
		}
		if err := os.WriteFile(filepath.Join(modules, r.Name+".wasm"), testkit.Detector(t, r.Name), 0o600); err != nil {
			t.Fatal(err)
		}
		var dirs []string
		for _, drop := range []bool{false, true} {
			o := DefaultFitOptions()
			o.ID, o.Version, o.Detectors, o.Training = r.Name, "1.0.0", modules, Training{File: train, Contamination: 0.2, DropRows: drop}
			o.Reference.Window = 100
			want := "kept of the training rows: the scores of all (train_scores.f64)"
			if drop {
				o.Version = "2.0.0"
			}
			made, err := a.Fit(t.Context(), r, o)
			if err != nil {
				t.Fatal(err)
			}
			_, golden := contents(t, made.Dir)[goldenFile]
			if golden == drop || !strings.HasPrefix(made.Kept, want) || strings.Contains(made.Kept, "; no row, so") != drop {
				t.Errorf("%s: golden rows: %v, %s", r.Name, golden, made.Kept)
			}
			if !drop && !strings.HasSuffix(made.Kept, "--keep-rows=false keeps no rows") {
				t.Error(made.Kept)
			}
			dirs = append(dirs, made.Dir)
		}
		with, without := contents(t, dirs[0]), contents(t, dirs[1])
		if with[trainScores] != without[trainScores] || with[trainScores] == "" {
			t.Errorf("%s scores otherwise if it keeps no rows", r.Name)
		}
		if r.Name != "ecod" {
			continue
		}
		columns, err := fit.ParseColumns([]byte(without[fit.TrainFile]), 8)
		if err != nil {
			t.Fatal(err)
		}
		for j, column := range columns {
			if !slices.IsSorted(column) {
				t.Errorf("column %d has the order of the rows", j)
			}
		}
		if bytes.Equal([]byte(with[fit.TrainFile]), []byte(without[fit.TrainFile])) {
			t.Error("the rows are kept")
		}
	}
}

// TestFitGaps checks that Fit names gaps, and replaces them where a flag says it.
func TestFitGaps(t *testing.T) {
	modules := t.TempDir()
	if err := os.WriteFile(filepath.Join(modules, "ecod.wasm"), testkit.Detector(t, "ecod"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "train.csv")
	if err := os.WriteFile(file, []byte("a,b\n1,2\n,3\n"+strings.Repeat("1,2\n4,5\n", 10)), 0o600); err != nil {
		t.Fatal(err)
	}
	a := Author{Store: modelstore.Store{Dir: t.TempDir()}, With: model.Backends{manifest.BackendWASM: testkit.WASM(t)}}
	o := DefaultFitOptions()
	o.ID, o.Version, o.Detectors, o.Training = "x", "1.0.0", modules, Training{File: file, Contamination: 0.1}
	r, err := FindDetector("ecod")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Fit(t.Context(), r, o); err == nil || !strings.Contains(err.Error(), `row 2: feature "a" is missing, and 1 of 22 rows have such gaps: pass --missing VALUE`) {
		t.Errorf("a gap: %v", err)
	}
	o.Missing = "nan"
	if _, err := a.Fit(t.Context(), r, o); err == nil || !strings.Contains(err.Error(), "ecod does not score NaN: pass --missing with a number") {
		t.Errorf("a gap that is NaN: %v", err)
	}
	o.Missing = "2.5"
	made, err := a.Fit(t.Context(), r, o)
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Decode([]byte(contents(t, made.Dir)[manifest.FileName]))
	if err != nil || show(m.Features) != "a/2.5 b/2.5" {
		t.Errorf("%s, %v", show(m.Features), err)
	}
}

// TestTrainingPipe checks that training rows from a pipe are refused, before anything waits
// for its writer.
func TestTrainingPipe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "train.csv")
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := columnNames(file); err == nil || !strings.Contains(err.Error(), "is not a regular file") {
		t.Errorf("error %v", err)
	}
}
