// Package forest evaluates tree ensembles in Go.
//
// Compile checks an ensemble and lays it out for speed. A number becomes an
// integer that sorts like it, once per row and column. All comparisons become
// one comparison of such integers, with no branch to predict, and several rows
// or trees are walked side by side. Trees of little depth are padded to
// complete ones, which need no pointers.
//
// Sums are added in the order of the trees and in the ensemble's own precision,
// as ONNX Runtime adds them on one thread.
//
// The package knows nothing of graphs.
package forest

import (
	"errors"
	"fmt"
	"math"
)

// Mode says how a node compares its feature with its value.
type Mode uint8

// The modes. A row goes to the node's True child if the comparison holds.
const (
	LEQ    Mode = iota // feature <= value
	LT                 // feature < value
	GTE                // feature >= value
	GT                 // feature > value
	EQ                 // feature == value
	NEQ                // feature != value
	Member             // feature is one of Members
	Leaf
)

// Aggregate says how the values of the trees become one.
type Aggregate uint8

// The ways of aggregating.
const (
	Sum Aggregate = iota
	Average
	Min
	Max
)

// Node is a node of a tree.
type Node struct {
	Mode        Mode
	MissingTrue bool // NaN goes to True, whatever Mode says
	Feature     int
	True, False int       // places in the tree's nodes
	Value       float64   // that the feature is compared with; the value of a leaf
	Members     []float64 // for Member
}

// Ensemble is a forest with one value per row.
type Ensemble struct {
	Trees     [][]Node // the root of each is its first node
	Columns   int      // features of a row
	Double    bool     // comparisons and sums are of float64, not of float32
	Aggregate Aggregate
	Base      float64 // added at the end
}

// Limits of an ensemble.
const (
	MaxNodes   = 1 << 24 // of all trees
	MaxDepth   = 1 << 12
	MaxColumns = 1 << 20
)

// ErrUnfit is wrapped by errors that say why an ensemble is not compiled.
var ErrUnfit = errors.New("the trees are not evaluated in Go")

func unfit(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUnfit, fmt.Errorf(format, args...))
}

// BlockRows is the number of rows of a Block.
const BlockRows = 32

// Forest is a compiled ensemble. It does not change and is safe for concurrent
// use.
type Forest struct {
	columns   int
	low       bool // the rows of a block hold a second copy of their columns
	trees     int
	reach     int
	aggregate Aggregate
	base      float64

	complete *complete               // of float32; or
	packed   *packed                 // of float32; or
	singles  *linked[int32, float32] // of float32; or
	doubles  *linked[int64, float64]
	bits     *bitTrees // for blocks of many rows; or nil
}

// Compile checks and compiles an ensemble. Errors wrap ErrUnfit.
func Compile(e Ensemble) (*Forest, error) { return compile(e, hasBits()) }

// compile is Compile for a processor with vectors or without.
func compile(e Ensemble, vectors bool) (*Forest, error) {
	switch {
	case len(e.Trees) == 0:
		return nil, unfit("there is no tree")
	case e.Columns < 1 || e.Columns > MaxColumns:
		return nil, unfit("%d columns are not between 1 and %d", e.Columns, MaxColumns)
	case e.Aggregate > Max:
		return nil, unfit("aggregate %d is unknown", e.Aggregate)
	case !finite(e.Base):
		return nil, unfit("the base value is %v", e.Base)
	}
	b := &builder{columns: e.Columns, double: e.Double}
	for t, nodes := range e.Trees {
		if err := b.tree(nodes); err != nil {
			return nil, fmt.Errorf("tree %d: %w", t, err)
		}
	}
	f := &Forest{columns: e.Columns, low: b.low, trees: len(e.Trees), aggregate: e.Aggregate, base: e.Base}
	for _, t := range b.trees {
		f.reach += t.depth
	}
	switch {
	case e.Double:
		f.doubles = link[int64, float64](b)
	case b.padded() <= 4*len(b.all)+1024 && b.depth() <= mostComplete:
		f.complete = b.pad()
	default:
		if f.packed = b.pack(); f.packed == nil {
			f.singles = link[int32, float32](b)
		}
	}
	if vectors && !e.Double && e.Aggregate <= Average {
		f.bits = b.bitTrees()
	}
	return f, nil
}

// Columns returns how many features a row has.
func (f *Forest) Columns() int { return f.columns }

// Trees returns the number of trees.
func (f *Forest) Trees() int { return f.trees }

// Reach returns how many nodes a row passes at most.
func (f *Forest) Reach() int { return f.reach }

// Double reports whether values are float64; otherwise they are float32.
func (f *Forest) Double() bool { return f.doubles != nil }

// MemoryBytes estimates the memory of the trees.
func (f *Forest) MemoryBytes() int64 {
	var bits int64
	if f.bits != nil {
		bits = int64(len(f.bits.tests))*12 + int64(len(f.bits.leaves))*4
	}
	switch {
	case f.complete != nil:
		return bits + int64(len(f.complete.nodes))*8 + int64(len(f.complete.leaves))*4
	case f.packed != nil:
		return bits + int64(len(f.packed.nodes))*12
	case f.singles != nil:
		return bits + int64(len(f.singles.nodes))*16
	}
	return int64(len(f.doubles.nodes)) * 24
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
