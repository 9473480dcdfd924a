package explain_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/runtime/explain"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// product is f(a, b, c) = a b + 2 c, whose Shapley values have a closed form.
func product(_ context.Context, rows *sdk.Batch) ([]float64, error) {
	out := make([]float64, rows.Rows())
	for i := range out {
		r := rows.Float64s()[3*i : 3*i+3]
		out[i] = r[0]*r[1] + 2*r[2]
	}
	return out, nil
}

func batch(values ...float64) *sdk.Batch {
	b := sdk.NewBatch(features())
	b.Resize(1)
	copy(b.Float64s(), values)
	return b
}

func features() []sdk.Feature {
	return []sdk.Feature{{Name: "a", DType: sdk.Float64}, {Name: "b", DType: sdk.Float64}, {Name: "c", DType: sdk.Float64}}
}

func ExampleExplainer_Exact() {
	x := explain.Explainer{Features: features(), Reference: batch(0, 0, 0), Evaluate: product}
	e, err := x.Exact(context.Background(), batch(3, 4, 5))
	if err != nil {
		panic(err)
	}
	for _, c := range e.Contributions {
		fmt.Printf("%s %.0f\n", c.Feature, c.Contribution)
	}
	fmt.Printf("from %.0f to %.0f\n", e.BaseValue, e.Score)
	// Output:
	// a 6
	// b 6
	// c 10
	// from 0 to 22
}

// TestMethods checks that exact values equal the formula, that all orders of the
// features give the same, and that the residual is what does not add up.
func TestMethods(t *testing.T) {
	x := &explain.Explainer{Features: features(), Reference: batch(1, 2, 1), Evaluate: product}
	in := batch(3, 4, 5)
	// a: (3-1) * (4+2)/2, b: (4-2) * (3+1)/2, c: 2 * (5-1).
	shapley := []float64{6, 4, 8}
	all := [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}
	for name, c := range map[string]struct {
		by       func() (*explain.Explanation, error)
		want     []float64
		rows     int
		additive bool
	}{
		"exact":           {func() (*explain.Explanation, error) { return x.Exact(t.Context(), in) }, shapley, 8, true},
		"all orders":      {func() (*explain.Explanation, error) { return x.Permutations(t.Context(), in, all) }, shapley, 26, true},
		"one and reverse": {func() (*explain.Explanation, error) { return x.Permutations(t.Context(), in, all[:1]) }, shapley, 6, true},
		"occlusion":       {func() (*explain.Explanation, error) { return x.Occlusion(t.Context(), in) }, []float64{8, 6, 8}, 5, false},
	} {
		e, err := c.by()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		sum := 0.0
		for j, v := range e.Contributions {
			sum += v.Contribution
			if math.Abs(v.Contribution-c.want[j]) > 1e-12 || v.Value != in.Value(0, j) || v.Reference != x.Reference.Value(0, j) {
				t.Errorf("%s: %+v, want %v", name, v, c.want[j])
			}
		}
		if e.BaseValue != 4 || e.Score != 22 || math.Abs(e.Score-e.BaseValue-sum-e.Residual) > 1e-12 || e.Additive != c.additive || e.Evaluations != c.rows {
			t.Errorf("%s: %+v", name, e)
		}
		if c.additive && math.Abs(e.Residual) > 1e-12 {
			t.Errorf("%s: the residual is %v", name, e.Residual)
		}
	}
	if _, err := x.Permutations(t.Context(), in, [][]int{{0, 1}}); err == nil {
		t.Error("an order of two of three features was accepted")
	}
}

// TestEvaluateFails checks that the error of Evaluate is returned.
func TestEvaluateFails(t *testing.T) {
	down := errors.New("down")
	x := &explain.Explainer{Features: features(), Reference: batch(0, 0, 0), Evaluate: func(context.Context, *sdk.Batch) ([]float64, error) { return nil, down }}
	if _, err := x.Occlusion(t.Context(), batch(1, 1, 1)); !errors.Is(err, down) {
		t.Errorf("%v", err)
	}
}

// TestDraw checks that equal seeds draw equal orders.
func TestDraw(t *testing.T) {
	first, again := explain.Draw(4, 6, 7), explain.Draw(4, 6, 7)
	if fmt.Sprint(first) != fmt.Sprint(again) || fmt.Sprint(first) == fmt.Sprint(explain.Draw(4, 6, 8)) {
		t.Errorf("%v, then %v", first, again)
	}
}
