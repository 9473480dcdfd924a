package forest_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/forest"
)

// plain evaluates an ensemble as its definition says.
func plain(e forest.Ensemble, row []float64) float64 {
	var acc float64
	round := func(v float64) float64 {
		if e.Double {
			return v
		}
		return float64(float32(v))
	}
	for t, nodes := range e.Trees {
		n := &nodes[0]
		for n.Mode != forest.Leaf {
			x := row[n.Feature]
			var yes bool
			switch n.Mode {
			case forest.LEQ:
				yes = x <= n.Value
			case forest.LT:
				yes = x < n.Value
			case forest.GTE:
				yes = x >= n.Value
			case forest.GT:
				yes = x > n.Value
			case forest.EQ:
				yes = x == n.Value
			case forest.NEQ:
				yes = x != n.Value
			default:
				yes = slices.Contains(n.Members, x)
			}
			if yes || (n.MissingTrue && math.IsNaN(x)) {
				n = &nodes[n.True]
			} else {
				n = &nodes[n.False]
			}
		}
		switch {
		case e.Aggregate <= forest.Average:
			acc = round(acc + n.Value)
		case t == 0, e.Aggregate == forest.Min && n.Value < acc, e.Aggregate == forest.Max && n.Value > acc:
			acc = n.Value
		}
	}
	if e.Aggregate == forest.Average {
		acc = round(acc / float64(len(e.Trees)))
	}
	return round(acc + round(e.Base))
}

// source draws an ensemble's choices.
type source struct {
	random *rand.Rand
	double bool
	modes  []forest.Mode
}

var allModes = []forest.Mode{forest.LEQ, forest.LT, forest.GTE, forest.GT, forest.EQ, forest.NEQ, forest.Member}

// number draws a number that is met again now and then.
func (s *source) number() float64 {
	v := s.random.NormFloat64()
	switch s.random.IntN(8) {
	case 0:
		v = 0
	case 1:
		v = math.Copysign(0, -1)
	case 2:
		v = float64(s.random.IntN(5) - 2)
	case 3:
		v = math.SmallestNonzeroFloat32 * float64(s.random.IntN(3)-1)
	case 4:
		v = math.MaxFloat32 * float64(s.random.IntN(3)-1)
	}
	if !s.double {
		v = float64(float32(v))
	}
	return v
}

// tree draws a tree of at most the given depth. A lean tree is a chain.
func (s *source) tree(columns, depth int, lean bool) []forest.Node {
	var nodes []forest.Node
	var grow func(level int) int
	grow = func(level int) int {
		at := len(nodes)
		n := forest.Node{Mode: forest.Leaf, Value: s.number()}
		nodes = append(nodes, n)
		if level == depth || (level > 0 && !lean && s.random.IntN(4) == 0) {
			return at
		}
		n = forest.Node{Mode: s.modes[s.random.IntN(len(s.modes))], MissingTrue: s.random.IntN(3) == 0, Feature: s.random.IntN(columns), Value: s.number()}
		for range s.random.IntN(6) {
			n.Members = append(n.Members, s.number())
		}
		switch {
		case lean:
			nodes = append(nodes, forest.Node{Mode: forest.Leaf, Value: s.number()})
			n.True, n.False = len(nodes)-1, grow(level+1)
		case s.random.IntN(6) == 0: // both ways lead to one child
			n.True = grow(level + 1)
			n.False = n.True
		default:
			n.True, n.False = grow(level+1), grow(level+1)
		}
		if level > 0 && len(nodes) > at+2 && s.random.IntN(4) == 0 { // an inner node is shared
			n.False = at + 1
		}
		nodes[at] = n
		return at
	}
	grow(0)
	return nodes
}

// rows draws rows, with every value of the trees and its neighbours in some.
func (s *source) rows(e forest.Ensemble, n int) [][]float64 {
	near := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1)}
	for _, nodes := range e.Trees {
		for _, node := range nodes {
			for _, v := range append(node.Members, node.Value) {
				if e.Double {
					near = append(near, v, math.Nextafter(v, math.Inf(1)), math.Nextafter(v, math.Inf(-1)))
				} else {
					f := float32(v)
					near = append(near, v, float64(math.Nextafter32(f, float32(math.Inf(1)))), float64(math.Nextafter32(f, float32(math.Inf(-1)))))
				}
			}
		}
	}
	out := make([][]float64, n)
	for i := range out {
		row := make([]float64, e.Columns)
		for j := range row {
			row[j] = s.number()
			if s.random.IntN(2) == 0 {
				row[j] = near[s.random.IntN(len(near))]
			}
		}
		out[i] = row
	}
	return out
}

// score runs a forest on rows, in calls of the given size.
func score(f *forest.Forest, rows [][]float64, size int, dense bool) []float64 {
	b, out := f.NewBlock(), make([]float64, len(rows))
	for from := 0; from < len(rows); from += size {
		part := rows[from:min(from+size, len(rows))]
		if dense {
			x := make([]float32, 0, len(part)*(f.Columns()+1))
			for _, row := range part {
				for _, v := range row {
					x = append(x, float32(v))
				}
				x = append(x, 7) // not one of the forest's columns
			}
			b.SetRows(x, f.Columns()+1, len(part))
		} else {
			for j := range f.Columns() {
				column := make([]float64, len(part))
				for i, row := range part {
					column[i] = row[j]
				}
				b.SetColumn(j, column)
			}
		}
		f.Run(b, out[from:from+len(part)])
	}
	return out
}

func same(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }

// TestForests compares random forests with their definition, to the bit.
func TestForests(t *testing.T) {
	byBits := 0
	for seed := range uint64(480) {
		random := rand.New(rand.NewPCG(seed, 1))
		s := &source{random: random, double: seed%3 == 0, modes: allModes}
		if seed%2 == 0 {
			s.modes = allModes[seed/2%6 : seed/2%6+1]
		}
		e := forest.Ensemble{Columns: 1 + random.IntN(6), Double: s.double, Aggregate: forest.Aggregate(seed / 7 % 4), Base: s.number()}
		for range 1 + random.IntN(11) {
			depth := random.IntN(6)
			if seed%5 == 0 {
				depth = random.IntN(40)
			}
			e.Trees = append(e.Trees, s.tree(e.Columns, min(depth, 40), seed%5 == 0))
		}
		f, err := forest.Compile(e)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if seed%4 >= 2 {
			if f, err = forest.Plain(e); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if f.ByBits() {
			byBits++
		}
		rows := s.rows(e, 77)
		for _, size := range []int{1, 5, 13, 32} {
			for _, dense := range []bool{false, true} {
				if dense && e.Double {
					continue
				}
				for i, got := range score(f, rows, size, dense) {
					if want := plain(e, rows[i]); !same(got, want) && !(math.IsNaN(got) && math.IsNaN(want)) {
						t.Fatalf("seed %d, calls of %d: row %v scores %v, want %v", seed, size, rows[i], got, want)
					}
				}
			}
		}
	}
	if forest.HasBits() && byBits < 25 {
		t.Errorf("only %d of the forests are evaluated by bits", byBits)
	}
	t.Logf("%d forests are evaluated by bits", byBits)
}

// TestUnfit checks that what is no forest is refused.
func TestUnfit(t *testing.T) {
	leaf := forest.Node{Mode: forest.Leaf, Value: 1}
	split := func(yes, no int) forest.Node { return forest.Node{True: yes, False: no, Value: 1} }
	with := func(change func(*forest.Node)) []forest.Node {
		n := split(1, 2)
		change(&n)
		return []forest.Node{n, leaf, leaf}
	}
	deep := []forest.Node{}
	for i := range forest.MaxDepth + 1 {
		deep = append(deep, split(2*i+1, 2*i+2), leaf)
	}
	deep = append(deep, leaf)
	for i := range deep { // the chain goes on at its even nodes
		if deep[i].Mode != forest.Leaf {
			deep[i].True, deep[i].False = i+1, i+2
		}
	}
	for name, nodes := range map[string][]forest.Node{
		"no node":                {},
		"a cycle":                {split(1, 2), split(0, 2), leaf},
		"itself":                 {split(0, 1), leaf},
		"a long cycle":           {split(1, 4), split(4, 2), split(4, 3), split(1, 4), leaf},
		"a child below":          {split(-1, 1), leaf},
		"a child beyond":         {split(1, 2), leaf},
		"a feature beyond":       with(func(n *forest.Node) { n.Feature = 3 }),
		"a feature below":        with(func(n *forest.Node) { n.Feature = -1 }),
		"an infinite threshold":  with(func(n *forest.Node) { n.Value = math.Inf(1) }),
		"no threshold":           with(func(n *forest.Node) { n.Value = math.NaN() }),
		"a threshold of float64": with(func(n *forest.Node) { n.Value = 0.1 }),
		"an infinite member":     with(func(n *forest.Node) { n.Mode, n.Members = forest.Member, []float64{math.Inf(1)} }),
		"a mode":                 with(func(n *forest.Node) { n.Mode = 99 }),
		"a leaf without a value": {{Mode: forest.Leaf, Value: math.NaN()}},
		"an infinite leaf":       {{Mode: forest.Leaf, Value: math.Inf(-1)}},
		"a deep tree":            deep,
	} {
		if _, err := forest.Compile(forest.Ensemble{Trees: [][]forest.Node{nodes}, Columns: 3}); !errors.Is(err, forest.ErrUnfit) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := [][]forest.Node{{leaf}}
	for name, e := range map[string]forest.Ensemble{
		"no tree": {Columns: 1}, "no column": {Trees: good}, "too many columns": {Trees: good, Columns: forest.MaxColumns + 1},
		"an aggregate": {Trees: good, Columns: 1, Aggregate: 9}, "a base": {Trees: good, Columns: 1, Base: math.NaN()},
	} {
		if _, err := forest.Compile(e); !errors.Is(err, forest.ErrUnfit) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestZero checks that sums begin with +0, alone and side by side.
func TestZero(t *testing.T) {
	minus := math.Copysign(0, -1)
	f, err := forest.Compile(forest.Ensemble{Columns: 1, Base: minus, Trees: [][]forest.Node{{{Mode: forest.Leaf, Value: minus}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range score(f, threes(9), 9, false) {
		if !same(got, 0) {
			t.Errorf("the sum of -0 and -0 is %v, want +0", got)
		}
	}
}

func threes(n int) [][]float64 {
	rows := make([][]float64, n)
	for i := range rows {
		rows[i] = []float64{3}
	}
	return rows
}

// FuzzForest compiles a forest made of any bytes. It is refused, or scores as
// its definition says.
func FuzzForest(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07"), uint8(1), false)
	f.Add([]byte("\x00\x01\x02\x00\x10\x07\x00\x00\x00\x20\x07\x00\x00\x00\x30"), uint8(2), true)
	f.Add([]byte("\x06\x01\x02\x01\x84\x07\x00\x00\x00\x20\x87\x00\x00\x00\x30"), uint8(3), false)
	f.Fuzz(func(t *testing.T, data []byte, kind uint8, double bool) {
		e := forest.Ensemble{Columns: 3, Double: double, Aggregate: forest.Aggregate(kind % 4), Base: float64(kind)}
		for size := 5 * (1 + int(kind/4%8)); len(data) >= 5; {
			var nodes []forest.Node
			for part := data[:min(size, len(data))/5*5]; len(part) > 0; part = part[5:] {
				value := float64(int8(part[4])) / 4
				nodes = append(nodes, forest.Node{
					Mode: forest.Mode(part[0] & 7), MissingTrue: part[0]&128 != 0, True: int(int8(part[1])), False: int(int8(part[2])), Feature: int(int8(part[3])),
					Value: value, Members: []float64{value, value - 1, 3},
				})
			}
			e.Trees, data = append(e.Trees, nodes), data[min(size, len(data)):]
		}
		compiled, err := forest.Compile(e)
		if err != nil {
			if !errors.Is(err, forest.ErrUnfit) {
				t.Fatal(err)
			}
			return
		}
		s := &source{random: rand.New(rand.NewPCG(uint64(kind), 2)), double: double}
		rows := s.rows(e, 40)
		for _, size := range []int{1, 32} {
			for i, got := range score(compiled, rows, size, !double) {
				if want := plain(e, rows[i]); !same(got, want) {
					t.Fatalf("row %v scores %v, want %v", rows[i], got, want)
				}
			}
		}
	})
}

func ExampleCompile() {
	f, err := forest.Compile(forest.Ensemble{Columns: 1, Trees: [][]forest.Node{{
		{Mode: forest.LEQ, Value: 0.5, True: 1, False: 2},
		{Mode: forest.Leaf, Value: -1},
		{Mode: forest.Leaf, Value: 1},
	}}})
	if err != nil {
		panic(err)
	}
	b, out := f.NewBlock(), make([]float64, 2)
	b.SetColumn(0, []float64{0.5, 0.75})
	f.Run(b, out)
	fmt.Println(out)
	// Output: [-1 1]
}
