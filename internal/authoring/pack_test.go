package authoring

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hostile"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// TestPackRefuses checks that a detector that writes one score for all rows of a batch
// is not packed, and that nothing is left of it.
func TestPackRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "one.wasm")
	if err := os.WriteFile(file, hostile.Plain(), 0o600); err != nil {
		t.Fatal(err)
	}
	a := Author{Store: modelstore.Store{Dir: t.TempDir()}, With: model.Backends{"wasm": testkit.WASM(t)}}
	at, err := a.Store.FindOne(file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Pack(t.Context(), at, "one", "1.0.0")
	if err == nil || !strings.Contains(err.Error(), "one cannot be packed: 1 of 2 rows with finite values have no finite score: row 1 scored NaN. A detector writes one finite score for each row") {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(a.Store.Dir); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}
