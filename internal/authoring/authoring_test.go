package authoring

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// TestMain lets the test binary act as the compiler of modules.
func TestMain(m *testing.M) { testkit.Main(m) }

// TestPercentile compares with numpy.percentile.
func TestPercentile(t *testing.T) {
	for _, c := range []struct {
		sorted  []float64
		q, want float64
	}{
		{[]float64{7}, 0.5, 7}, {[]float64{1, 2}, 0.5, 1.5}, {[]float64{1, 2, 4}, 0.75, 3},
		{[]float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 0.9, 9.1}, {[]float64{1, 2, 3}, 1, 3}, {[]float64{1, 2, 3}, 0, 1},
	} {
		if got := percentile(c.sorted, c.q); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("percentile(%v, %v) is %v, want %v", c.sorted, c.q, got, c.want)
		}
	}
}

// TestReference checks that a feature's reference is its middle value or its most
// common text.
func TestReference(t *testing.T) {
	gap := float32(math.NaN())
	b := sdk.NewBatch([]sdk.Feature{{Name: "n", DType: sdk.Float64}, {Name: "s", DType: sdk.String}, {Name: "g", DType: sdk.Float32}, {Name: "none", DType: sdk.Float32}})
	b.Resize(5)
	for i, row := range [][4]any{{5.0, "b", gap, gap}, {1.0, "a", gap, gap}, {4.0, "c", gap, gap}, {2.0, "b", float32(8), gap}, {3.0, "a", float32(6), gap}} {
		for j, v := range row {
			if err := b.SetValue(i, j, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, want := reference(b), map[string]any{"n": 3.0, "s": "a", "g": float32(6), "none": 0.0}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestCSVHeader(t *testing.T) {
	for text, want := range map[string]string{
		"a,b\n1,2\n": "", "\ufeffa,b\n": "", "a, b\n": "remove the spaces", ",a\n": "pandas", "a,\xff\n": "UTF-8", "": "the first line must name the columns",
	} {
		file := filepath.Join(t.TempDir(), "rows.csv")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		header, err := columnNames(file)
		if want == "" && (err != nil || !reflect.DeepEqual(header, []string{"a", "b"})) {
			t.Errorf("%q: %q, %v", text, header, err)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestPackAndVerify checks that hosts load a version that was packed under another
// name.
func TestPackAndVerify(t *testing.T) {
	from := testkit.CopyModel(t, t.TempDir(), "ecod-c", "ecod-c", "1.0.0", nil)
	a := Author{Store: modelstore.Store{Dir: t.TempDir()}, With: model.Backends{"wasm": testkit.WASM(t)}}
	at, err := a.Store.FindOne(from)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Pack(t.Context(), at, "", "not a version"); err == nil {
		t.Error("an invalid version was accepted")
	}
	dir, err := a.Pack(t.Context(), at, "other", "2.0.0")
	if err != nil {
		t.Fatal(err)
	}
	if at, err = a.Store.Resolve("other"); err != nil || filepath.Join(at.Dir, at.Path()) != dir {
		t.Fatalf("%s, %v; want %s", at.Path(), err, dir)
	}
	v, err := a.Verify(t.Context(), at)
	if err != nil || v.ID != "other" || v.Version != "2.0.0" || v.Features == 0 || v.Rows != "golden rows" {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := a.Pack(t.Context(), at, "", ""); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("packed over an existing version: %v", err)
	}
}
