package onnx_test

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// badForest writes a graph of a tree with three splits of three columns, after change has
// changed its attributes.
func badForest(t *testing.T, change func(a map[string]any)) string {
	t.Helper()
	a := map[string]any{
		"n_targets": int64(1), "nodes_treeids": make([]int64, 7), "nodes_nodeids": []int64{0, 1, 2, 3, 4, 5, 6}, "nodes_featureids": []int64{0, 1, 2, 0, 0, 0, 0},
		"nodes_values": []float32{0.5, 1, -1, 0, 0, 0, 0}, "nodes_modes": []string{"BRANCH_LEQ", "BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF", "LEAF"},
		"nodes_truenodeids": []int64{1, 3, 5, 0, 0, 0, 0}, "nodes_falsenodeids": []int64{2, 4, 6, 0, 0, 0, 0},
		"target_ids": make([]int64, 4), "target_treeids": make([]int64, 4), "target_nodeids": []int64{3, 4, 5, 6}, "target_weights": []float32{1, 2, 3, 4},
	}
	change(a)
	b := graph.NewBuilder("g")
	b.Input("x", graph.Float, -1, 3)
	var attributes []graph.Attribute
	for _, name := range slices.Sorted(maps.Keys(a)) {
		attributes = append(attributes, graph.Attribute{Name: name, Value: a[name]})
	}
	b.NodeML("TreeEnsembleRegressor", []string{"x"}, []string{"score"}, attributes...)
	b.Output("score", graph.Float, -1, 1)
	file := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func set[T any](name string, at int, v T) func(a map[string]any) {
	return func(a map[string]any) { a[name].([]T)[at] = v }
}

func cut[T any](name string) func(a map[string]any) {
	return func(a map[string]any) { a[name] = a[name].([]T)[1:] }
}

// badForests are changes that make no forest of a tree.
var badForests = map[string]func(a map[string]any){
	"the root is a child":     set("nodes_truenodeids", 1, int64(0)),
	"a node is its own child": set("nodes_falsenodeids", 2, int64(2)),
	"nodes are below each other": func(a map[string]any) {
		set("nodes_truenodeids", 1, int64(2))(a)
		set("nodes_truenodeids", 2, int64(1))(a)
	},
	"a child beyond":              set("nodes_truenodeids", 1, int64(99)),
	"a child below":               set("nodes_truenodeids", 1, int64(-1)),
	"a child far beyond":          set("nodes_truenodeids", 1, int64(math.MaxInt64)),
	"a feature beyond":            set("nodes_featureids", 1, int64(3)),
	"a feature far beyond":        set("nodes_featureids", 1, int64(1)<<40),
	"a feature below":             set("nodes_featureids", 1, int64(-1)),
	"a leaf that is NaN":          set("target_weights", 1, float32(math.NaN())),
	"a leaf that is infinite":     set("target_weights", 1, float32(math.Inf(1))),
	"a threshold that is NaN":     set("nodes_values", 1, float32(math.NaN())),
	"an infinite threshold":       set("nodes_values", 1, float32(math.Inf(1))),
	"an infinite threshold below": set("nodes_values", 1, float32(math.Inf(-1))),
	"an unknown mode":             set("nodes_modes", 1, "BRANCH_NEAR"),
	"a leaf without a weight":     set("target_nodeids", 1, int64(3)),
	"the weight of a split":       set("target_nodeids", 1, int64(1)),
	"the weight of no node":       set("target_nodeids", 1, int64(77)),
	"the weight of no tree":       set("target_treeids", 1, int64(7)),
	"the weight of no target":     set("target_ids", 1, int64(5)),
	"a target below":              set("target_ids", 1, int64(-1)),
	"a node twice":                set("nodes_nodeids", 4, int64(3)),
	"a tree in two pieces":        set("nodes_treeids", 3, int64(1)),
	"fewer values":                cut[float32]("nodes_values"),
	"fewer modes":                 cut[string]("nodes_modes"),
	"fewer features":              cut[int64]("nodes_featureids"),
	"fewer children":              cut[int64]("nodes_truenodeids"),
	"fewer weights":               cut[float32]("target_weights"),
	"fewer targets":               cut[int64]("target_ids"),
	"no target":                   func(a map[string]any) { a["n_targets"] = int64(0) },
	"many targets":                func(a map[string]any) { a["n_targets"] = int64(math.MaxInt64) },
	"an unknown aggregate":        func(a map[string]any) { a["aggregate_function"] = "MEDIAN" },
	"an unknown transform":        func(a map[string]any) { a["post_transform"] = "CUBE" },
	"base values for others":      func(a map[string]any) { a["base_values"] = []float32{1, 2} },
	"an infinite base value":      func(a map[string]any) { a["base_values"] = []float32{float32(math.Inf(1))} },
	"no node": func(a map[string]any) {
		for name := range a {
			if strings.HasPrefix(name, "nodes_") || strings.HasPrefix(name, "target_") {
				delete(a, name)
			}
		}
	},
}

// TestBadForests checks that what is no forest is refused, or is ONNX Runtime's: with the
// library and without it, the host never scores it itself.
func TestBadForests(t *testing.T) {
	hosts := map[string]*onnx.Backend{"without the library": onnx.New(onnx.Config{Library: filepath.Join(t.TempDir(), "none.so"), Log: discard()})}
	if b := onnx.New(onnx.Config{Library: testkit.Library(), Probe: onnx.ProbeChild, Log: discard()}); b.Err() == nil {
		hosts["with the library"] = b
	}
	for name, change := range badForests {
		for host, b := range hosts {
			t.Run(fmt.Sprintf("%s, %s", name, host), func(t *testing.T) {
				a, err := artifact(t, b, badForest(t, change), nil)
				if err != nil {
					t.Log("refused:", err)
					return
				}
				a.Manifest.Limits.LoadTimeout = manifest.Defaults().Limits.LoadTimeout
				s, err := b.Open(t.Context(), a)
				if err != nil {
					t.Log("refused:", err)
					return
				}
				defer s.Close()
				if e := engineOf(t, s); e.Name != backends.EngineRuntime {
					t.Errorf("it is served: %+v", e)
				} else {
					t.Log(e.Detail)
				}
			})
		}
	}
	good := badForest(t, func(map[string]any) {})
	for host, b := range hosts {
		a, err := artifact(t, b, good, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := b.Open(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		if e := engineOf(t, s); e.Name != backends.EngineForest {
			t.Errorf("%s, the tree as it was: %+v", host, e)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
