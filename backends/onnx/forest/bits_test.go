package forest_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/forest"
)

// chain returns a tree of some leaves with values 1, 2, ..., whose splits follow each other
// on one side. A row reaches the leaf with its number.
func chain(leaves int, left bool) []forest.Node {
	var nodes []forest.Node
	for i := 1; i < leaves; i++ {
		number := i
		if left {
			number = leaves + 1 - i
		}
		leaf, next := len(nodes)+1, len(nodes)+2
		n := forest.Node{Mode: forest.LEQ, Value: float64(number), True: leaf, False: next}
		if left {
			n = forest.Node{Mode: forest.LT, Value: float64(number), True: next, False: leaf}
		}
		nodes = append(nodes, n, forest.Node{Mode: forest.Leaf, Value: float64(number)})
	}
	last := leaves
	if left {
		last = 1
	}
	return append(nodes, forest.Node{Mode: forest.Leaf, Value: float64(last)})
}

// TestLeaves checks trees with as many leaves as have bits, and with fewer and more.
func TestLeaves(t *testing.T) {
	for _, leaves := range []int{1, 2, 8, 9, 31, 32, 33, 63, 64, 65, 80, 96, 97, 500, 2000} {
		for _, left := range []bool{true, false} {
			f, err := forest.Compile(forest.Ensemble{Columns: 1, Trees: [][]forest.Node{chain(leaves, left)}})
			if err != nil {
				t.Fatal(err)
			}
			if leaves < 1000 && f.ByBits() != forest.HasBits() {
				t.Errorf("%d leaves: by bits is %v", leaves, f.ByBits())
			}
			var rows [][]float64
			for i := range leaves {
				rows = append(rows, []float64{float64(i + 1)})
			}
			for len(rows)%32 != 0 {
				rows = append(rows, rows[0])
			}
			for i, got := range score(f, rows, 32, true) {
				if got != rows[i][0] {
					t.Errorf("%d leaves, left is %v: row %v scores %v", leaves, left, rows[i], got)
				}
			}
		}
	}
}

// bushy returns a tree of some leaves, whose splits divide them at random.
func (s *source) bushy(columns, leaves int) []forest.Node {
	var nodes []forest.Node
	var grow func(leaves int) int
	grow = func(leaves int) int {
		at := len(nodes)
		nodes = append(nodes, forest.Node{Mode: forest.Leaf, Value: s.number()})
		if leaves > 1 {
			n := forest.Node{Mode: s.modes[s.random.IntN(len(s.modes))], MissingTrue: s.random.IntN(2) == 0, Feature: s.random.IntN(columns), Value: s.number()}
			left := 1 + s.random.IntN(leaves-1)
			n.True, n.False = grow(left), grow(leaves-left)
			nodes[at] = n
		}
		return at
	}
	grow(leaves)
	return nodes
}

// TestParts checks trees of several parts, among others of one.
func TestParts(t *testing.T) {
	byBits := 0
	for seed := range uint64(60) {
		s := &source{random: rand.New(rand.NewPCG(seed, 5)), modes: allModes[:4]}
		e := forest.Ensemble{Columns: 1 + s.random.IntN(9), Base: s.number()}
		for range 1 + s.random.IntN(9) {
			e.Trees = append(e.Trees, s.bushy(e.Columns, 1+s.random.IntN(140)))
		}
		f, err := forest.Compile(e)
		if err != nil {
			t.Fatal(err)
		}
		if f.ByBits() {
			byBits++
		}
		rows := s.rows(e, 160)
		for i, got := range score(f, rows, 32, seed%2 == 0) {
			if want := plain(e, rows[i]); !same(got, want) && !(math.IsNaN(got) && math.IsNaN(want)) {
				t.Fatalf("seed %d: row %v scores %v, want %v", seed, rows[i], got, want)
			}
		}
	}
	if forest.HasBits() && byBits < 40 {
		t.Errorf("only %d of the forests are evaluated by bits", byBits)
	}
}
