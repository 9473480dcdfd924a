package manifest_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

const whole = `apiVersion: pynomaly.io/v1
kind: Model
id: m
version: 1.0.0
artifact: a
files: {s: "sha256:0000000000000000000000000000000000000000000000000000000000000000"}
config: {a: 1}
features: [{name: x, dtype: float64, missing: 1}]
output: {name: y}
threshold: 1
calibration: {method: linear, min: 0, max: 1}
explanation: {method: exact, reference: {x: 0}}
golden: {rows: g}
limits: {memory: 1GiB}
metadata: {b: [1]}
`

func decoded(t *testing.T) *manifest.Manifest {
	t.Helper()
	m, err := manifest.Decode([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	m.Command, m.Warnings, m.Confidence = []string{"x"}, append(make([]string, 0, 8), "odd"), &manifest.Confidence{}
	return m
}

// TestWith checks that With adds values only to the returned manifest, and keeps the
// manifest's own values.
func TestWith(t *testing.T) {
	m, threshold := decoded(t), 2.0
	if got := m.With(manifest.Derived{}); !reflect.DeepEqual(got, decoded(t)) {
		t.Errorf("with nothing added: %+v", got)
	}
	d := manifest.Derived{
		Features: []manifest.Feature{{Feature: sdk.Feature{Name: "z", DType: sdk.Float32}}}, Input: "X", Output: &manifest.Output{Name: "scores", HigherIsNormal: true},
		Threshold: &threshold, Algorithm: "A", Stateful: true, Warnings: []string{"more"},
	}
	got := m.With(d)
	if got.Features[0].Name != "z" || got.Input != "X" || got.Output != *d.Output || *got.Threshold != 2 || got.Algorithm != "A" || !got.Stateful || len(got.Warnings) != 2 || got.ID != "m" {
		t.Errorf("%+v", got)
	}
	if other := m.With(manifest.Derived{Warnings: []string{"another"}}); got.Warnings[1] != "more" || other.Warnings[1] != "another" {
		t.Errorf("%v, %v", got.Warnings, other.Warnings)
	}
	if !reflect.DeepEqual(m, decoded(t)) {
		t.Errorf("the manifest was changed: %+v", m)
	}
}

// TestCloneSharesNothing checks that the copy shares no pointer, slice or map of any
// field.
func TestCloneSharesNothing(t *testing.T) {
	m := decoded(t)
	c := m.Clone()
	if !reflect.DeepEqual(m, c) {
		t.Fatalf("%+v, want %+v", c, m)
	}
	var compare func(path string, a, b reflect.Value)
	compare = func(path string, a, b reflect.Value) {
		switch a.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			if a.IsNil() {
				return
			}
			if a.Pointer() == b.Pointer() {
				t.Errorf("%s is shared", path)
			}
			if a.Kind() == reflect.Pointer {
				compare(path, a.Elem(), b.Elem())
			}
		case reflect.Struct:
			for i := range a.NumField() {
				compare(path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))
			}
		}
	}
	compare("m", reflect.ValueOf(*m), reflect.ValueOf(*c))
}

// TestLowered checks that Lowered lowers limits in a copy.
func TestLowered(t *testing.T) {
	m := decoded(t)
	most := manifest.DefaultMaxima()
	most.Memory = 1 << 20
	if got := m.Lowered(most); got.Limits.Memory != 1<<20 || len(got.Warnings) != 2 {
		t.Errorf("%+v", got)
	}
	if !reflect.DeepEqual(m, decoded(t)) {
		t.Errorf("the manifest was changed: %+v", m)
	}
}

// TestTyped checks that the artifact's types complete what is written without them.
func TestTyped(t *testing.T) {
	text := strings.NewReplacer("{name: x, dtype: float64, missing: 1}", "{name: x, input: A, missing: 1}, {name: n, input: B, missing: nan}, {name: e, input: C}",
		"reference: {x: 0}", "reference: {x: 2, n: 3, e: 4}").Replace(whole)
	m, err := manifest.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]sdk.DType{"A": sdk.Float32, "B": sdk.Float64, "C": sdk.Int64}
	dtype := func(f manifest.Feature) (sdk.DType, error) { return types[f.Input], nil }
	features, err := m.Typed(dtype)
	if err != nil {
		t.Fatal(err)
	}
	got := m.With(manifest.Derived{Features: features})
	want := []manifest.Feature{
		{Feature: sdk.Feature{Name: "x", DType: sdk.Float32}, Input: "A", Missing: manifest.Missing{Policy: manifest.MissingIsValue, Value: float32(1)}},
		{Feature: sdk.Feature{Name: "n", DType: sdk.Float64}, Input: "B", Missing: manifest.Missing{Policy: manifest.MissingIsNaN}},
		{Feature: sdk.Feature{Name: "e", DType: sdk.Int64}, Input: "C"},
	}
	if !reflect.DeepEqual(got.Features, want) || !reflect.DeepEqual(got.Explanation.Reference, map[string]any{"x": float32(2), "n": 3.0, "e": int64(4)}) {
		t.Errorf("%+v, %v", got.Features, got.Explanation.Reference)
	}
	types["A"], types["B"] = sdk.Bool, sdk.String
	if _, err := m.Typed(dtype); err == nil || !strings.Contains(err.Error(), "features[0].missing must be error, nan or a bool") {
		t.Errorf("a value of another type: %v", err)
	}
	types["A"] = sdk.Float32
	if _, err := m.Typed(dtype); err == nil || !strings.Contains(err.Error(), "nan does not exist for string") {
		t.Errorf("a text that is NaN: %v", err)
	}
}
