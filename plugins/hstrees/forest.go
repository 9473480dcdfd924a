package hstrees

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
)

// split is the test of an inner node. A value below the threshold goes left.
type split struct {
	threshold float64
	feature   int32
}

// forest is a set of perfect binary trees. Each tree's nodes are in heap order: the
// children of node i are 2i + 1 and 2i + 2, and inner nodes come before leaves.
type forest struct {
	trees, height, window, features int

	splits  []split  // of the inner nodes, tree after tree
	latest  []uint32 // rows of the present window that passed each node
	counted []uint32 // the same for the last complete window
	learned int      // rows of the present window
	warm    bool     // a window is complete
	few     uint32   // a node with fewer rows ends the visit
}

// maxNodes is the largest number of nodes in a forest.
const maxNodes = 1 << 22

func newForest(trees, height, window, features int, splits []split) (*forest, error) {
	f := &forest{trees: trees, height: height, window: window, features: features, splits: splits}
	const maxHeight = 20
	switch {
	case trees < 1 || height < 1 || height > maxHeight || trees > maxNodes/f.nodes():
		return nil, fmt.Errorf("%d trees of height %d are out of range: at least 1 tree, a height of 1 to %d, and at most %d nodes in all", trees, height, maxHeight, maxNodes)
	case window < 1 || window > 1<<24:
		return nil, fmt.Errorf("a window of %d rows is out of range", window)
	case features < 1:
		return nil, errors.New("there are no features")
	case splits != nil && len(splits) != trees*f.inner():
		return nil, fmt.Errorf("%d splits for %d inner nodes", len(splits), trees*f.inner())
	}
	f.latest, f.counted = make([]uint32, trees*f.nodes()), make([]uint32, trees*f.nodes())
	// Numbers of rows are integers: below a tenth of the window means below its
	// ceiling.
	const tenth = 10
	f.few = uint32((window-1)/tenth + 1)
	return f, nil
}

func (f *forest) inner() int { return 1<<f.height - 1 }
func (f *forest) nodes() int { return 2<<f.height - 1 }

// child returns the node that a row visits after node i.
func (s *split) child(row []float64, latest []uint32, i int) int {
	v, left := row[s.feature], 2*i+1
	if v < s.threshold || (v != v && latest[left] >= latest[left+1]) {
		return left
	}
	return left + 1
}

// learn counts a row, and begins a new window after the last row of one.
func (f *forest) learn(row []float64) {
	inner, nodes := f.inner(), f.nodes()
	for k := range f.trees {
		splits, latest := f.splits[k*inner:(k+1)*inner], f.latest[k*nodes:(k+1)*nodes]
		i := 0
		for i < inner {
			latest[i]++
			i = splits[i].child(row, latest, i)
		}
		latest[i]++
	}
	f.learned++
	if f.learned == f.window {
		f.latest, f.counted = f.counted, f.latest
		clear(f.latest)
		f.learned, f.warm = 0, true
	}
}

// score returns 1 minus the sum of rows x 2^depth over the visited nodes, relative
// to the largest possible sum. It returns 0 before the first window is complete. A
// node with less than a tenth of the window's rows ends the visit.
func (f *forest) score(row []float64) float64 {
	if !f.warm {
		return 0
	}
	inner, nodes := f.inner(), f.nodes()
	var sum uint64
	for k := range f.trees {
		splits := f.splits[k*inner : (k+1)*inner]
		latest, counted := f.latest[k*nodes:(k+1)*nodes], f.counted[k*nodes:(k+1)*nodes]
		for i, depth := 0, 0; ; depth++ {
			sum += uint64(counted[i]) << depth
			if counted[i] < f.few || i >= inner {
				break
			}
			i = splits[i].child(row, latest, i)
		}
	}
	return 1 - float64(sum)/(float64(f.trees)*float64(f.window)*float64(f.nodes()))
}

// draw draws the trees of a configuration. Equal seeds give equal trees.
func draw(c config) (*forest, error) {
	f, err := newForest(c.Trees, c.Height, c.Window, len(c.Limits), nil)
	if err != nil {
		return nil, err
	}
	for j, l := range c.Limits {
		if w := l[1] - l[0]; !(w >= 0) || math.IsInf(w, 0) {
			return nil, fmt.Errorf("the limits of feature %d are %v", j, l)
		}
	}
	f.splits = make([]split, f.trees*f.inner())
	random := rand.New(rand.NewPCG(c.Seed, 0))
	box := append([][2]float64(nil), c.Limits...)
	for k := range f.trees {
		if !grow(f.splits[k*f.inner():(k+1)*f.inner()], 0, box, random) {
			return nil, errors.New("no feature can be split: all are constant, or the sum of their ranges is infinite")
		}
	}
	return f, nil
}

// padding is the distance of thresholds from the sides of a box, as a share of its
// width.
const padding = 0.15

// grow draws the splits below node i of a tree, whose rows lie in a box. The
// probability of a feature is its share of the box's total width. grow returns false
// if the box has no width. Products are rounded before they are added, so that every
// machine draws the same trees.
func grow(splits []split, i int, box [][2]float64, random *rand.Rand) bool {
	if i >= len(splits) {
		return true
	}
	total := 0.0
	for _, b := range box {
		total += b[1] - b[0]
	}
	if !(total > 0) || math.IsInf(total, 0) {
		return false
	}
	at, feature, sum := float64(random.Float64()*total), 0, box[0][1]-box[0][0]
	for feature < len(box)-1 && sum <= at {
		feature++
		sum += box[feature][1] - box[feature][0]
	}
	b := box[feature]
	pad := float64(padding * (b[1] - b[0]))
	low, high := b[0]+pad, b[1]-pad
	threshold := low + float64((high-low)*random.Float64())
	splits[i] = split{threshold, int32(feature)}
	box[feature] = [2]float64{b[0], threshold}
	ok := grow(splits, 2*i+1, box, random)
	box[feature] = [2]float64{threshold, b[1]}
	ok = ok && grow(splits, 2*i+2, box, random)
	box[feature] = b
	return ok
}
