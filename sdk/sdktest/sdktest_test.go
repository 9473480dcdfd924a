package sdktest_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/sdk"
	"github.com/pynomaly/pynomaly-runtime/sdk/sdktest"
)

// detector sums two features. Its fields make it misbehave.
type detector struct {
	info    sdk.Info
	score   func(in *sdk.Batch, out []float64) error
	explain func(in *sdk.Batch, out []float64) error
	learned uint64
	load    func([]byte) error
	close   error
}

func (d *detector) Info() sdk.Info { return d.info }
func (d *detector) Close() error   { return d.close }

func (d *detector) Score(ctx context.Context, in *sdk.Batch, out []float64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return d.score(in, out)
}

func (d *detector) Explain(_ context.Context, in *sdk.Batch, out []float64) error {
	if d.explain == nil {
		return errors.ErrUnsupported
	}
	return d.explain(in, out)
}

func (d *detector) Learn(_ context.Context, in *sdk.Batch) error {
	d.learned += uint64(in.Rows())
	return nil
}

func (d *detector) Save(context.Context) ([]byte, error) {
	return binary.LittleEndian.AppendUint64(nil, d.learned), nil
}

func (d *detector) Load(_ context.Context, state []byte) error {
	if d.load != nil {
		return d.load(state)
	}
	if len(state) != 8 {
		return errors.New("a state has 8 bytes")
	}
	d.learned = binary.LittleEndian.Uint64(state)
	return nil
}

func sum(in *sdk.Batch, out []float64) error {
	for i := range out {
		out[i] = in.Float64s()[2*i] + in.Float64s()[2*i+1]
	}
	return nil
}

func good() *detector {
	return &detector{
		info:  sdk.Info{Name: "sum", Features: []sdk.Feature{{Name: "a", DType: sdk.Float64}, {Name: "b", DType: sdk.Float64}}, Concurrency: 4},
		score: sum,
	}
}

func opens(change func(*detector)) sdktest.Open {
	return func(context.Context) (sdk.Scorer, error) {
		d := good()
		change(d)
		return d, nil
	}
}

func broken(text string) sdktest.Open {
	return func(context.Context) (sdk.Scorer, error) { return nil, errors.New(text) }
}

func stateful(d *detector) {
	d.info.Stateful, d.info.Concurrency = true, 1
	d.score = func(_ *sdk.Batch, out []float64) error {
		for i := range out {
			out[i] = float64(d.learned)
		}
		return nil
	}
}

// TestGoodDetectors runs the kit on detectors without faults.
func TestGoodDetectors(t *testing.T) {
	t.Run("plain", func(t *testing.T) {
		sdktest.Run(t, opens(func(*detector) {}), sdktest.Options{Broken: map[string]sdktest.Open{"its file is missing": broken("the file is missing")}})
	})
	t.Run("stateful", func(t *testing.T) { sdktest.Run(t, opens(stateful), sdktest.Options{}) })
	t.Run("explaining", func(t *testing.T) {
		sdktest.Run(t, opens(func(d *detector) {
			d.explain = func(in *sdk.Batch, out []float64) error {
				for i := range in.Rows() {
					copy(out[3*i+1:], in.Float64s()[2*i:2*i+2])
					out[3*i] = 0
				}
				return nil
			}
		}), sdktest.Options{})
	})
}

// TestBadDetectors checks that each fault fails the check meant for it.
func TestBadDetectors(t *testing.T) {
	calls := 0
	var hoard [][]byte
	for name, c := range map[string]struct {
		check string
		open  sdktest.Open
		o     sdktest.Options
	}{
		"no features":    {"describes itself", opens(func(d *detector) { d.info.Features = nil }), sdktest.Options{}},
		"twice one name": {"describes itself", opens(func(d *detector) { d.info.Features[1].Name = "a" }), sdktest.Options{}},
		"one score for all": {"gives each row one score", opens(func(d *detector) {
			d.score = func(in *sdk.Batch, out []float64) error { copy(out, []float64{1}); return nil }
		}), sdktest.Options{}},
		"infinite": {"gives each row one score", opens(func(d *detector) {
			d.score = func(in *sdk.Batch, out []float64) error { fill(out, 1); out[len(out)/2] = math.Inf(1); return nil }
		}), sdktest.Options{}},
		"not repeatable": {"repeats itself", opens(func(d *detector) {
			d.info.Concurrency = 1
			d.score = func(_ *sdk.Batch, out []float64) error { calls++; fill(out, float64(calls)); return nil }
		}), sdktest.Options{}},
		"batch dependent": {"a row alone scores as in a batch", opens(func(d *detector) {
			d.score = func(_ *sdk.Batch, out []float64) error { fill(out, float64(len(out))); return nil }
		}), sdktest.Options{}},
		"hates emptiness": {"takes an empty batch", opens(func(d *detector) {
			d.score = func(in *sdk.Batch, out []float64) error {
				if len(out) == 0 {
					return errors.New("no rows")
				}
				return sum(in, out)
			}
		}), sdktest.Options{}},
		"NaN spreads": {"survives missing and infinite values", opens(func(d *detector) {
			d.score = func(in *sdk.Batch, out []float64) error {
				_ = sum(in, out)
				for _, v := range out {
					if math.IsNaN(v) {
						fill(out, v)
					}
				}
				return nil
			}
		}), sdktest.Options{}},
		"NaN kills": {"survives missing and infinite values", opens(func(d *detector) {
			d.score = func(in *sdk.Batch, out []float64) error {
				_ = sum(in, out)
				for _, v := range out {
					if math.IsNaN(v) {
						panic("NaN")
					}
				}
				return nil
			}
		}), sdktest.Options{}},
		"only small": {"takes large batches", opens(func(d *detector) {
			d.score = func(in *sdk.Batch, out []float64) error {
				if len(out) > 1000 {
					return errors.New("too large")
				}
				return sum(in, out)
			}
		}), sdktest.Options{}},
		"changes rows": {"leaves its input alone", opens(func(d *detector) {
			d.score = func(in *sdk.Batch, out []float64) error {
				err := sum(in, out)
				if len(out) > 0 {
					in.Float64s()[1] = 7
				}
				return err
			}
		}), sdktest.Options{}},
		"remembers": {"opens again as it was", opens(func(d *detector) {
			calls++
			n := float64(calls)
			d.score = func(_ *sdk.Batch, out []float64) error { fill(out, n); return nil }
		}), sdktest.Options{}},
		"bad text":     {"says what is wrong", opens(func(*detector) {}), sdktest.Options{Broken: map[string]sdktest.Open{"broken": broken("\x00")}}},
		"opens anyway": {"says what is wrong", opens(func(*detector) {}), sdktest.Options{Broken: map[string]sdktest.Open{"broken": opens(func(*detector) {})}}},
		"does nothing": {"repeats itself", opens(func(d *detector) { d.score = func(*sdk.Batch, []float64) error { return nil } }), sdktest.Options{}},
		"explains nothing": {"explains its scores", opens(func(d *detector) {
			d.explain = func(*sdk.Batch, []float64) error { return nil }
		}), sdktest.Options{}},
		"explains NaN": {"explains its scores", opens(func(d *detector) {
			d.explain = func(_ *sdk.Batch, out []float64) error { fill(out, math.NaN()); return nil }
		}), sdktest.Options{}},
		"forgets":      {"keeps its state", opens(func(d *detector) { stateful(d); d.load = func(s []byte) error { return nil } }), sdktest.Options{}},
		"closes badly": {"describes itself", opens(func(d *detector) { d.close = errors.New("stuck") }), sdktest.Options{}},
		"hoards": {"leaks nothing", opens(func(d *detector) {
			d.info.Concurrency = 1
			d.score = func(in *sdk.Batch, out []float64) error {
				hoard = append(hoard, make([]byte, 1<<10))
				return sum(in, out)
			}
		}), sdktest.Options{}},
		"grows": {"leaks nothing", opens(func(*detector) {}), sdktest.Options{Memory: func() int64 { calls++; return int64(calls) << 30 }}},
	} {
		t.Run(name, func(t *testing.T) {
			var found []string
			err := sdktest.Report(t.Context(), c.open, c.o, func(o sdktest.Outcome) {
				if o.Err != nil {
					found = append(found, o.Name)
				}
			})
			if err == nil || !strings.Contains(strings.Join(found, "\n"), c.check) {
				t.Errorf("%v: found %q", err, found)
			}
			hoard = nil
		})
	}
}

func fill(out []float64, v float64) {
	for i := range out {
		out[i] = v
	}
}

func ExampleReport() {
	err := sdktest.Report(context.Background(), opens(func(d *detector) { d.info.Features = nil }), sdktest.Options{Calls: 100}, func(o sdktest.Outcome) {
		if o.Name == "describes itself" {
			fmt.Println(o.Name+":", o.Err)
		}
	})
	fmt.Println(err != nil)
	// Output:
	// describes itself: it has no features
	// true
}
