package hstrees

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
)

// split is the test of an inner node: a value below the threshold goes left.
type split struct {
	threshold float64
	feature   int32
}

// forest is a number of perfect binary trees. The nodes of each stand in heap
// order, the children of node i at 2i + 1 and 2i + 2, inner nodes before leaves.
type forest struct {
	trees, height, window, features int

	splits  []split  // of the inner nodes, tree after tree
	latest  []uint32 // rows of the running window that came through each node
	counted []uint32 // the same of the last complete window
	learned int      // rows of the running window
	warm    bool     // a window is complete
	few     uint32   // below so many rows a node is not looked into
}

// maxNodes bounds a forest.
const maxNodes = 1 << 22

func newForest(trees, height, window, features int, splits []split) (*forest, error) {
	f := &forest{trees: trees, height: height, window: window, features: features, splits: splits}
	const maxHeight = 20
	switch {
	case trees < 1 || height < 1 || height > maxHeight || trees > maxNodes/f.nodes():
		return nil, fmt.Errorf("%d trees of height %d cannot be made: at least 1 tree of height 1 to %d, and %d nodes in all", trees, height, maxHeight, maxNodes)
	case window < 1 || window > 1<<24:
		return nil, fmt.Errorf("a window of %d rows cannot be kept", window)
	case features < 1:
		return nil, errors.New("there are no features")
	case splits != nil && len(splits) != trees*f.inner():
		return nil, fmt.Errorf("%d splits for %d inner nodes", len(splits), trees*f.inner())
	}
	f.latest, f.counted = make([]uint32, trees*f.nodes()), make([]uint32, trees*f.nodes())
	// Rows are whole: below a tenth of the window is below its ceiling.
	const tenth = 10
	f.few = uint32((window-1)/tenth + 1)
	return f, nil
}

func (f *forest) inner() int { return 1<<f.height - 1 }
func (f *forest) nodes() int { return 2<<f.height - 1 }

// child is the node that a row goes to from node i.
func (s *split) child(row []float64, latest []uint32, i int) int {
	v, left := row[s.feature], 2*i+1
	if v < s.threshold || (v != v && latest[left] >= latest[left+1]) {
		return left
	}
	return left + 1
}

// learn counts a row, and begins a new window when one is complete.
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

// score is 1 - sum of rows x 2^depth over the visited nodes, in relation to the
// most that it can be; 0 before the first window is complete. A node with less
// than a tenth of the window's rows ends the visit.
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

// draw makes the trees of a configuration: the same for the same seed.
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
			return nil, errors.New("nothing can be split: all features are constant, or their ranges add up to infinity")
		}
	}
	return f, nil
}

// padding keeps thresholds away from the sides of a box, as a share of its width.
const padding = 0.15

// grow draws the splits below node i of a tree, whose rows lie in a box; false:
// the box has no width. A feature is chosen by the box's width in it. Products
// are rounded before they are added, so that every machine draws the same trees.
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
