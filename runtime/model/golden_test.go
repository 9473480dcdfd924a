package model_test

import (
	"bytes"
	"os"
	"path/filepath"
	goruntime "runtime"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// TestGoldenFileOfLines checks that golden rows are read line by line: a list of all
// lines would take many times the file's size.
func TestGoldenFileOfLines(t *testing.T) {
	dir := t.TempDir()
	modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0")+"golden: {rows: g}\n")
	const size, most = 8 << 20, 64 << 20
	text := append([]byte(`{"data": [1], "score": 1}`), bytes.Repeat([]byte("\n"), size)...)
	modeltest.Check(t, os.WriteFile(filepath.Join(dir, "m", "1.0.0", "g"), text, 0o600))
	all, err := modelstore.Find(dir)
	modeltest.Check(t, err)
	sums := modeltest.Bare{Make: func(*manifest.Manifest) sdk.Scorer { return modeltest.Sums{} }}
	var before, after goruntime.MemStats
	goruntime.ReadMemStats(&before)
	m, err := all[0].Open(t.Context(), model.Backends{manifest.BackendONNX: sums}, batching.NewCalls(1))
	modeltest.Check(t, err)
	goruntime.ReadMemStats(&after)
	modeltest.Check(t, m.Close())
	if took := after.TotalAlloc - before.TotalAlloc; took > most {
		t.Errorf("it took %d MiB", took>>20)
	}
}
