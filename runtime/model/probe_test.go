package model_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// moody scores differently every time.
type moody struct {
	modeltest.Sums
	n *atomic.Int64
}

func (m moody) Score(_ context.Context, _ *sdk.Batch, out []float64) error {
	for i := range out {
		out[i] = float64(m.n.Add(1))
	}
	return nil
}

// coupled subtracts the mean of the batch.
type coupled struct{ modeltest.Sums }

func (coupled) Score(_ context.Context, in *sdk.Batch, out []float64) error {
	mean := 0.0
	for _, v := range in.Float64s() {
		mean += v / float64(in.Rows())
	}
	for i, v := range in.Float64s() {
		out[i] = v - mean
	}
	return nil
}

func TestProbe(t *testing.T) {
	random := func(*manifest.Manifest) sdk.Scorer { return moody{n: new(atomic.Int64)} }
	mean := func(*manifest.Manifest) sdk.Scorer { return coupled{} }
	for _, c := range []struct {
		name, extra, want string
		open              func(*manifest.Manifest) sdk.Scorer
	}{
		{"random", "", "stateful: true", random},
		{"random but stateful", "stateful: true\n", "", random},
		{"coupled", "", "batch_dependent: true", mean},
		{"coupled and says so", "batch_dependent: true\n", "", mean},
		{"plain", "", "", func(*manifest.Manifest) sdk.Scorer { return modeltest.Sums{} }},
		{"fails", "", "unknown category", func(*manifest.Manifest) sdk.Scorer { return modeltest.Picky{Limit: -100} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := modeltest.TryFake(t, modeltest.Simple("m", "1.0.0")+c.extra, nil, c.open)
			if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}
