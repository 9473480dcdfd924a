//go:build cgo

package onnx_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/plan"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

func attr(name string, v any) graph.Attribute { return graph.Attribute{Name: name, Value: v} }

// stump adds a tree that gives low or high, as the column is at most 0.5 or above.
func stump(b *graph.Builder, in, out string, column int64, low, high float32) {
	b.NodeML("TreeEnsembleRegressor", []string{in}, []string{out},
		attr("n_targets", int64(1)), attr("nodes_treeids", []int64{0, 0, 0}), attr("nodes_nodeids", []int64{0, 1, 2}),
		attr("nodes_featureids", []int64{column, 0, 0}), attr("nodes_values", []float32{0.5, 0, 0}),
		attr("nodes_modes", []string{"BRANCH_LEQ", "LEAF", "LEAF"}), attr("nodes_truenodeids", []int64{1, 0, 0}), attr("nodes_falsenodeids", []int64{2, 0, 0}),
		attr("target_ids", []int64{0, 0}), attr("target_treeids", []int64{0, 0}), attr("target_nodeids", []int64{1, 2}), attr("target_weights", []float32{low, high}))
}

// scanned adds a scan over training rows, whose body is made by fill, with the nearest 2 of
// the distances.
func scanned(b *graph.Builder, columns int, root func(b *graph.Builder, sums, out string), fill func(body *graph.Builder)) {
	scannedOf(b, "x", columns, root, fill)
	b.Node("ReduceSum", []string{"near", "one"}, []string{"score"}, attr("keepdims", int64(1)))
}

// scannedOf is scanned for rows, without the score.
func scannedOf(b *graph.Builder, rows string, columns int, root func(b *graph.Builder, sums, out string), fill func(body *graph.Builder)) {
	body := graph.NewBuilder("body")
	body.Input("rows", graph.Float, -1, int64(columns))
	body.Input("training", graph.Float, int64(columns))
	body.Node("Identity", []string{"rows"}, []string{"again"})
	body.Node("Sub", []string{"rows", "training"}, []string{"differences"})
	fill(body)
	body.Output("again", graph.Float, -1, int64(columns))
	body.Output("sums", graph.Float, -1)
	r := rand.New(rand.NewPCG(3, 4))
	train := make([]float32, 40*columns)
	for i := range train {
		train[i] = float32(r.NormFloat64())
	}
	b.Floats("train", train, 40, int64(columns))
	b.Ints("k", []int64{2}, 1)
	b.Node("Scan", []string{rows, "train"}, []string{"unchanged", "turned"}, attr("body", body), attr("num_scan_inputs", int64(1)))
	b.Node("Transpose", []string{"turned"}, []string{"all"}, attr("perm", []int64{1, 0}))
	root(b, "all", "distances")
	b.Node("TopK", []string{"distances", "k"}, []string{"near", "which"}, attr("axis", int64(1)), attr("largest", int64(0)), attr("sorted", int64(1)))
	b.Ints("one", []int64{1}, 1)
	b.Output("score", graph.Float, -1, 1)
}

func sqrt(b *graph.Builder, sums, out string) { b.Node("Sqrt", []string{sums}, []string{out}) }

func rootOf(p float32, dims ...int64) func(b *graph.Builder, sums, out string) {
	return func(b *graph.Builder, sums, out string) {
		b.Floats("inverse", []float32{1 / p}, dims...)
		b.Node("Pow", []string{sums, "inverse"}, []string{out})
	}
}

func sumOf(body *graph.Builder, op, in, out string) {
	if op == "ReduceSum" {
		body.Ints("axis of "+out, []int64{1}, 1)
		body.Node(op, []string{in, "axis of " + out}, []string{out}, attr("keepdims", int64(0)))
		return
	}
	body.Node(op, []string{in}, []string{out}, attr("axes", []int64{1}), attr("keepdims", int64(0)))
}

// powers adds the absolute differences to the power of p.
func powers(body *graph.Builder, p float32, out string, dims ...int64) {
	body.Floats("order of "+out, []float32{p}, dims...)
	body.Node("Abs", []string{"differences"}, []string{"absolute for " + out})
	body.Node("Pow", []string{"absolute for " + out, "order of " + out}, []string{out})
}

// beside makes a score of a stump and of what fill computes of the columns of x as "y".
func beside(fill func(b *graph.Builder)) func(b *graph.Builder) {
	return func(b *graph.Builder) {
		b.Input("x", graph.Float, -1, 3)
		b.Ints("one", []int64{1}, 1)
		b.Ints("zero", []int64{0}, 1)
		stump(b, "x", "leaf", 2, 1, 2)
		b.Node("Gather", []string{"x", "zero"}, []string{"first"}, attr("axis", int64(1)))
		b.Node("Gather", []string{"x", "one"}, []string{"second"}, attr("axis", int64(1)))
		b.Node("Log", []string{"first"}, []string{"log"}) // NaN for half of the rows
		fill(b)
		b.Node("Add", []string{"leaf", "y"}, []string{"score"})
		b.Output("score", graph.Float, -1, 1)
	}
}

func op(name string, in ...string) func(b *graph.Builder) {
	return beside(func(b *graph.Builder) {
		b.Floats("low", []float32{-0.25})
		b.Floats("high", []float32{0.5})
		b.Floats("each", []float32{-1, 0, 2}, 3)
		b.Node(name, in, []string{"y"})
	})
}

// unlike are graphs beside those that are recognised.
var unlike = map[string]func(b *graph.Builder){
	"integers above float32 are added": func(b *graph.Builder) {
		b.Input("x", graph.Float, -1, 2)
		stump(b, "x", "a", 0, 16777216, 5)
		stump(b, "x", "b", 1, 1, 3)
		for _, v := range []string{"a", "b"} {
			b.Node("Cast", []string{v}, []string{v + " whole"}, attr("to", int64(graph.Int64)))
		}
		b.Node("Add", []string{"a whole", "b whole"}, []string{"sum"})
		b.Node("Cast", []string{"sum"}, []string{"score"}, attr("to", int64(graph.Double)))
		b.Output("score", graph.Double, -1, 1)
	},
	"an int32 overflows": func(b *graph.Builder) {
		b.Input("x", graph.Float, -1, 2)
		stump(b, "x", "a", 0, 2147483647, 5)
		b.Node("Cast", []string{"a"}, []string{"whole"}, attr("to", int64(6)))
		b.Node("Cast", []string{"whole"}, []string{"score"}, attr("to", int64(graph.Float)))
		b.Output("score", graph.Float, -1, 1)
	},
	"a category is given twice": func(b *graph.Builder) {
		b.Input("x", graph.String, -1, 1)
		b.NodeML("OneHotEncoder", []string{"x"}, []string{"hot"}, attr("cats_strings", []string{"a", "b", "a", ""}), attr("zeros", int64(1)))
		b.Ints("flat shape", []int64{-1, 4}, 2)
		b.Node("Reshape", []string{"hot", "flat shape"}, []string{"flat"})
		for j, v := range []string{"p", "q", "r", "s"} {
			stump(b, "flat", v, int64(j), 0, float32(int(1)<<j))
		}
		b.Node("Sum", []string{"p", "q", "r", "s"}, []string{"score"})
		b.Output("score", graph.Float, -1, 1)
	},
	"a dead power in the scan": func(b *graph.Builder) {
		b.Input("x", graph.Float, -1, 3)
		scanned(b, 3, rootOf(2, 1), func(body *graph.Builder) {
			powers(body, 3, "cubes")
			powers(body, 2, "squares")
			sumOf(body, "ReduceSum", "cubes", "sums")
		})
	},
	"a dead sum in the scan": func(b *graph.Builder) {
		b.Input("x", graph.Float, -1, 3)
		scanned(b, 3, sqrt, func(body *graph.Builder) {
			body.Node("Abs", []string{"differences"}, []string{"absolute"})
			sumOf(body, "ReduceSum", "absolute", "sums")
			sumOf(body, "ReduceSumSquare", "differences", "dead")
		})
	},
	"a high order": func(b *graph.Builder) {
		b.Input("x", graph.Float, -1, 3)
		scanned(b, 3, rootOf(50, 1), func(body *graph.Builder) {
			powers(body, 50, "high")
			sumOf(body, "ReduceSum", "high", "sums")
		})
	},
	"a root of another rank": func(b *graph.Builder) {
		b.Input("x", graph.Float, -1, 3)
		scanned(b, 3, rootOf(3, 1, 1, 1), func(body *graph.Builder) {
			powers(body, 3, "cubes")
			sumOf(body, "ReduceSum", "cubes", "sums")
		})
	},
	"an exponent of another rank": func(b *graph.Builder) {
		b.Input("x", graph.Float, -1, 3)
		scanned(b, 3, rootOf(3, 1), func(body *graph.Builder) {
			powers(body, 3, "cubes", 1, 1, 1)
			sumOf(body, "ReduceSum", "cubes", "sums")
		})
	},
	"the numbers of rows near NaN": func(b *graph.Builder) {
		b.Input("x", graph.Float, -1, 3)
		b.Node("Log", []string{"x"}, []string{"log"})
		scannedOf(b, "log", 3, sqrt, func(body *graph.Builder) { sumOf(body, "ReduceSumSquare", "differences", "sums") })
		table := make([]float32, 40)
		for i := range table {
			table[i] = float32(1 + i*i)
		}
		b.Floats("table", table, 40)
		b.Node("Gather", []string{"table", "which"}, []string{"numbers"})
		b.Node("ReduceSum", []string{"numbers", "one"}, []string{"score"}, attr("keepdims", int64(1)))
	},
	"an exponent per column": func(b *graph.Builder) {
		b.Input("x", graph.Float, -1, 1)
		scanned(b, 1, rootOf(3, 1), func(body *graph.Builder) {
			powers(body, 3, "cubes", 1, 1)
			sumOf(body, "ReduceSum", "cubes", "sums")
		})
	},
	"the rows without their axis": func(b *graph.Builder) {
		b.Input("x", graph.Float, -1, 3)
		b.Ints("one", []int64{1}, 1)
		stump(b, "x", "leaf", 0, 1, 2)
		b.Node("ReduceSum", []string{"x", "one"}, []string{"y"}, attr("keepdims", int64(0)))
		b.Node("Add", []string{"leaf", "y"}, []string{"score"})
		b.Output("score", graph.Float, -1, -1)
	},
	"all axes are reduced": beside(func(b *graph.Builder) { b.Node("ReduceSum", []string{"x"}, []string{"y"}) }),
	"the rows are reduced": beside(func(b *graph.Builder) { b.Node("ReduceSum", []string{"second", "zero"}, []string{"y"}) }),
	"the rows are taken":   beside(func(b *graph.Builder) { b.Node("Gather", []string{"second", "zero"}, []string{"y"}) }),
	"a slice of rows": beside(func(b *graph.Builder) {
		b.Ints("end", []int64{1}, 1)
		b.Node("Slice", []string{"second", "zero", "end", "zero"}, []string{"y"})
	}),
	"a slice from behind": beside(func(b *graph.Builder) {
		b.Ints("from", []int64{-2}, 1)
		b.Ints("to", []int64{-1}, 1)
		b.Node("Slice", []string{"x", "from", "to", "one"}, []string{"y"})
	}),
	"a default that is also an input": func(b *graph.Builder) {
		b.Input("x", graph.Float, -1, 3)
		b.Input("offset", graph.Float, 1)
		b.Floats("offset", []float32{0.25}, 1)
		stump(b, "x", "leaf", 0, 1, 2)
		b.Node("Add", []string{"leaf", "offset"}, []string{"score"})
		b.Output("score", graph.Float, -1, 1)
	},
	"NaN is clipped": op("Clip", "log", "low", "high"), "NaN is clipped from below": op("Clip", "log", "low"), "NaN and its sign": op("Sign", "log"),
	"NaN and max": op("Max", "log", "second"), "NaN and min": op("Min", "second", "log"), "NaN and max of three": op("Max", "second", "log", "first"),
	"a power of what is below 0": op("Pow", "first", "high"), "a root of what is below 0": op("Sqrt", "first"), "NaN to the power of 0": op("Pow", "log", "zero"),
	"1 by 0": op("Reciprocal", "leaf"), "up": op("Ceil", "first"), "down": op("Floor", "first"), "tanh": op("Tanh", "first"), "e": op("Exp", "first"), "sigmoid": op("Sigmoid", "second"),
	"NaN is compared": beside(func(b *graph.Builder) {
		b.Node("Less", []string{"log", "second"}, []string{"is"})
		b.Node("Not", []string{"is"}, []string{"is not"})
		b.Node("Where", []string{"is not", "first", "second"}, []string{"y"})
	}),
	"NaN is true": beside(func(b *graph.Builder) {
		b.Node("Cast", []string{"log"}, []string{"is"}, attr("to", int64(graph.Bool)))
		b.Node("Where", []string{"is", "first", "second"}, []string{"y"})
	}),
	"the mean of one": beside(func(b *graph.Builder) { b.Node("Mean", []string{"second"}, []string{"y"}) }),
	"a norm with NaN": beside(func(b *graph.Builder) {
		b.Node("Concat", []string{"second", "log"}, []string{"two"}, attr("axis", int64(1)))
		b.NodeML("Normalizer", []string{"two"}, []string{"normed"}, attr("norm", "MAX"))
		b.Node("Gather", []string{"normed", "zero"}, []string{"y"}, attr("axis", int64(1)))
	}),
}

// TestGraphsBesideTheRecognised checks that a graph is left alone, or computed as ONNX
// Runtime computes it, row by row: small scores do not hide behind large ones.
func TestGraphsBesideTheRecognised(t *testing.T) {
	b := testkit.ONNX(t, t.TempDir())
	for name, fill := range unlike {
		t.Run(name, func(t *testing.T) {
			g := graph.NewBuilder("g")
			fill(g)
			file := filepath.Join(t.TempDir(), "model.onnx")
			if err := os.WriteFile(file, g.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			a, err := artifact(t, b, file, func(m *manifest.Manifest) { m.Output.Name = "score" })
			if err != nil {
				t.Log("refused:", err)
				return
			}
			checked, err := graph.Check(a.Bytes, graph.Limits{})
			if err != nil {
				t.Log("refused:", err)
				return
			}
			p, _, err := onnx.Recognise(a, checked)
			if err != nil {
				if !errors.Is(err, plan.ErrUnknown) {
					t.Fatal(err)
				}
				t.Log("left alone:", err)
				return
			}
			s, err := b.Session(a.Bytes, a)
			if err != nil {
				t.Fatal("recognised, and fails: ", err)
			}
			defer s.Close()
			const n = 300
			in := sdk.NewBatch(a.Manifest.SDKFeatures())
			in.Resize(n)
			r := rand.New(rand.NewPCG(1, 2))
			for i := range n {
				for j, f := range in.Features() {
					var v any = float32(r.NormFloat64())
					if f.DType == sdk.String {
						v = []string{"a", "b", "c", ""}[r.IntN(4)]
					}
					if err := in.SetValue(i, j, v); err != nil {
						t.Fatal(err)
					}
				}
			}
			want, got := make([]float64, n), make([]float64, n)
			if err := errors.Join(s.Score(t.Context(), in, want), p.Score(t.Context(), in, got)); err != nil {
				t.Fatal(err)
			}
			different := 0
			said := ""
			for i, w := range want {
				same := w == got[i] || math.IsNaN(w) && math.IsNaN(got[i]) || math.Abs(w-got[i]) <= 1e-6*max(1, math.Abs(w)) && math.Abs(w) < 1<<24
				if !same {
					different++
					said = fmt.Sprintf("row %d, %v, scores %v in ONNX Runtime, and %v in Go", i, in.Value(i, 0), w, got[i])
				}
			}
			if different > 0 {
				t.Errorf("%d of %d rows: %s", different, n, said)
			}
		})
	}
}
