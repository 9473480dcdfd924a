package rest_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestWorkMetrics checks that a detector's calls are counted with their rows, and
// that a module reports its instances and the fuel of its calls.
func TestWorkMetrics(t *testing.T) {
	dir := t.TempDir()
	testkit.CopyModel(t, dir, "ecod-rust", "m", "1.0.0", nil)
	h := testkit.Serve(t, testkit.Options{Dir: dir})
	number := func(name string) float64 {
		t.Helper()
		v, err := strconv.ParseFloat(samples(t, h)[name], 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return v
	}
	const v = `{model_id="m",version="1.0.0"}`
	const single = `model_call_rows_bucket{model_id="m",version="1.0.0",le="1"}`
	calls, singles, rows, fuel := number("model_call_rows_count"+v), number(single), number("model_call_rows_sum"+v), number("model_fuel_units_total"+v)
	row := `[8,155,62,26,495,34,0.543,46]`
	do(t, h, sent{path: "/api/v1/predict", body: `{"model_id":"m","data":` + row + `}`})
	do(t, h, sent{path: "/api/v1/predict/batch", body: `{"model_id":"m","data":[` + strings.Repeat(row+",", 4) + row + `]}`})
	if n := number("model_call_rows_count"+v) - calls; n != 2 {
		t.Errorf("%v calls, want 2", n)
	}
	if n := number(single) - singles; n != 1 {
		t.Errorf("%v calls of one row, want 1", n)
	}
	if n := number("model_call_rows_sum"+v) - rows; n != 6 {
		t.Errorf("%v rows, want 6", n)
	}
	if n := number("model_fuel_units_total" + v); n <= fuel {
		t.Errorf("%v units of fuel after the calls, %v before", n, fuel)
	}
	for name, want := range map[string]func(float64) bool{
		"model_slots" + v:            func(n float64) bool { return n >= 1 },
		"model_slots_busy" + v:       func(n float64) bool { return n == 0 },
		"model_slots_stuck" + v:      func(n float64) bool { return n == 0 },
		"model_queue_rows" + v:       func(n float64) bool { return n == 0 },
		"model_instances" + v:        func(n float64) bool { return n >= 1 },
		"model_instances_wanted" + v: func(n float64) bool { return n >= 1 },
		"host_models_loaded":         func(n float64) bool { return n == 1 },
		"host_models_cache_bytes":    func(n float64) bool { return n > 0 },
	} {
		if n := number(name); !want(n) {
			t.Errorf("%s is %v", name, n)
		}
	}
}
