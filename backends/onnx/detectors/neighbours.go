package detectors

import (
	"fmt"
	"math"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/neighbours"
)

const keepsRows = "all of them, in float32, of which the detector consists"

// epsilon keeps densities finite among equal rows, as in scikit-learn.
const epsilon = 1e-10

// compared are training rows, each compared with the others.
type compared struct {
	rows   Rows // scaled
	scale  *scaler
	k      int
	others []found // the nearest k of each row
}

// compareRows finds the neighbours of each training row; usual is how many, unless o says.
func compareRows(r Rows, o Options, usual int) (*compared, error) {
	r, scale, err := prepare(r, o)
	if err != nil {
		return nil, err
	}
	k, err := neighboursOf(r, o, usual)
	if err != nil {
		return nil, err
	}
	others, err := among(r, k)
	if err != nil {
		return nil, err
	}
	return &compared{r, scale, k, others}, nil
}

// begin begins a graph with the distances of rows to their nearest training rows.
func (g *compared) begin(name string) *graph.Builder {
	b, rows := begin(name, g.rows, g.scale)
	distances(b, rows, g.rows, g.k)
	return b
}

// LOF fits a local outlier factor for new rows, with scikit-learn's definition and
// Euclidean distances. Inliers score about 1.
func LOF(r Rows, o Options) (*Fitted, error) {
	const usual = 20
	g, err := compareRows(r, o, usual)
	if err != nil {
		return nil, err
	}
	n, k := g.rows.Len(), float64(g.k)
	kdist, lrd := make([]float32, n), make([]float32, n)
	for i, o := range g.others {
		kdist[i] = o.dist[g.k-1]
	}
	for i, o := range g.others {
		var reach float64
		for a, d := range o.dist {
			reach += float64(max(d, kdist[o.row[a]]))
		}
		lrd[i] = float32(1 / (reach/k + epsilon))
	}
	f := &Fitted{Keeps: keepsRows, Scores: make([]float64, n)}
	for i, o := range g.others {
		for _, row := range o.row {
			f.Scores[i] += float64(lrd[row])
		}
		f.Scores[i] /= k * float64(lrd[i])
	}
	b := g.begin("local_outlier_factor")
	b.Floats(own("kdist"), kdist, int64(n))
	b.Floats(own("lrd"), lrd, int64(n))
	b.Floats(own("epsilon"), []float32{epsilon}, 1)
	b.Floats(own("one"), []float32{1}, 1)
	b.Node("Gather", []string{own("kdist"), own("nearest")}, []string{own("kdist_of")})
	b.Node("Gather", []string{own("lrd"), own("nearest")}, []string{own("lrd_of")})
	b.Node("Max", []string{own("distances"), own("kdist_of")}, []string{own("reach")})
	b.Node("ReduceMean", []string{own("reach")}, []string{own("reach_mean")}, columns(), graph.Attribute{Name: "keepdims", Value: int64(1)})
	b.Node("Add", []string{own("reach_mean"), own("epsilon")}, []string{own("reach_positive")})
	b.Node("Div", []string{own("one"), own("reach_positive")}, []string{own("own_lrd")})
	b.Node("Div", []string{own("lrd_of"), own("own_lrd")}, []string{own("ratios")})
	b.Node("ReduceMean", []string{own("ratios")}, []string{Output}, columns(), graph.Attribute{Name: "keepdims", Value: int64(1)})
	b.Output(Output, graph.Float, -1, 1)
	f.Graph = b.Bytes()
	return f, nil
}

// KNN fits distances to the nearest training rows, with PyOD's definitions: a row's
// score is its distance to the k-th, or the mean or median of all k.
func KNN(r Rows, o Options) (*Fitted, error) {
	if o.Distance != DistanceLargest && o.Distance != DistanceMean && o.Distance != DistanceMedian {
		return nil, fmt.Errorf("--distance is %q: it must be %s, %s or %s", o.Distance, DistanceLargest, DistanceMean, DistanceMedian)
	}
	const usual = 5
	g, err := compareRows(r, o, usual)
	if err != nil {
		return nil, err
	}
	f := &Fitted{Keeps: keepsRows, Scores: make([]float64, g.rows.Len())}
	for i, x := range g.others {
		f.Scores[i] = reduced(x.dist, o.Distance)
	}
	b := g.begin("knn")
	reduce(b, o.Distance, g.k)
	b.Output(Output, graph.Float, -1, 1)
	f.Graph = b.Bytes()
	return f, nil
}

// reduced computes what reduce writes.
func reduced(dist []float32, how string) float64 {
	k := len(dist)
	switch how {
	case DistanceMean:
		var sum float64
		for _, d := range dist {
			sum += float64(d)
		}
		return sum / float64(k)
	case DistanceMedian:
		return (float64(dist[(k-1)/2]) + float64(dist[k/2])) / 2
	default:
		return float64(dist[k-1])
	}
}

// reduce adds the nodes that make one score of the distances.
func reduce(b *graph.Builder, how string, k int) {
	at := func(name string, i int, to string) {
		b.Ints(name, []int64{int64(i)}, 1)
		b.Node("Gather", []string{own("distances"), name}, []string{to}, graph.Attribute{Name: "axis", Value: int64(1)})
	}
	switch how {
	case DistanceMean:
		b.Node("ReduceMean", []string{own("distances")}, []string{Output}, columns(), graph.Attribute{Name: "keepdims", Value: int64(1)})
	case DistanceMedian:
		at(own("lower"), (k-1)/2, own("lower_distance"))
		at(own("upper"), k/2, own("upper_distance"))
		b.Floats(own("half"), []float32{0.5}, 1)
		b.Node("Add", []string{own("lower_distance"), own("upper_distance")}, []string{own("twice")})
		b.Node("Mul", []string{own("twice"), own("half")}, []string{Output})
	default:
		at(own("last"), k-1, Output)
	}
}

// columns is the attribute of operators that fold the columns of a row.
func columns() graph.Attribute { return graph.Attribute{Name: "axes", Value: []int64{1}} }

// distances adds the nodes that compute the distances of rows to their k nearest
// training rows, and the numbers of these: "distances" and "nearest" [N, k], nearest
// first. A scan takes one training row after another, as skl2onnx's graphs do: other
// forms take memory for all differences, or lose small distances.
func distances(b *graph.Builder, rows string, r Rows, k int) {
	body := graph.NewBuilder("squares")
	body.Input("rows", graph.Float, -1, int64(r.Features))
	body.Input("training_row", graph.Float, int64(r.Features))
	body.Node("Identity", []string{"rows"}, []string{"rows_again"})
	body.Node("Sub", []string{"rows", "training_row"}, []string{"differences"})
	body.Node("ReduceSumSquare", []string{"differences"}, []string{"squares_of_row"}, columns(), graph.Attribute{Name: "keepdims", Value: int64(0)})
	body.Output("rows_again", graph.Float, -1, int64(r.Features))
	body.Output("squares_of_row", graph.Float, -1)
	b.Floats(own("training_rows"), r.Values, int64(r.Len()), int64(r.Features))
	b.Ints(own("k"), []int64{int64(k)}, 1)
	b.Node("Scan", []string{rows, own("training_rows")}, []string{own("unchanged"), own("squares_by_training_row")},
		graph.Attribute{Name: "body", Value: body}, graph.Attribute{Name: "num_scan_inputs", Value: int64(1)})
	b.Node("Transpose", []string{own("squares_by_training_row")}, []string{own("squares")}, graph.Attribute{Name: "perm", Value: []int64{1, 0}})
	b.Node("Sqrt", []string{own("squares")}, []string{own("all_distances")})
	b.Node("TopK", []string{own("all_distances"), own("k")}, []string{own("distances"), own("nearest")},
		graph.Attribute{Name: "axis", Value: int64(1)}, graph.Attribute{Name: "largest", Value: int64(0)}, graph.Attribute{Name: "sorted", Value: int64(1)})
}

func neighboursOf(r Rows, o Options, usual int) (int, error) {
	k := o.Neighbours
	if k == 0 {
		k = usual
	}
	if k < 1 || k > neighbours.MaxNeighbours-1 {
		return 0, fmt.Errorf("--neighbors is %d: it must be between 1 and %d", k, neighbours.MaxNeighbours-1)
	}
	return min(k, r.Len()-1), nil
}

// found holds the neighbours of a training row among the others, nearest first.
type found struct {
	dist []float32
	row  []int32
}

// among finds the k nearest other rows of each training row.
func among(r Rows, k int) ([]found, error) {
	x, err := neighbours.New(neighbours.Params[float32]{Train: r.Values, Features: r.Features, K: k + 1})
	if err != nil {
		return nil, fmt.Errorf("comparing the training rows: %w", err)
	}
	out := make([]found, r.Len())
	s := x.Scratch()
	for i := range out {
		x.Nearest(r.Row(i), s)
		dist, row := s.Of(0)
		self := k // of k+1 equal rows any one may go
		for a := range row {
			if int(row[a]) == i {
				self = a
				break
			}
		}
		f := found{make([]float32, 0, k), make([]int32, 0, k)}
		f.dist, f.row = append(append(f.dist, dist[:self]...), dist[self+1:]...), append(append(f.row, row[:self]...), row[self+1:]...)
		if d := f.dist[k-1]; math.IsInf(float64(d), 1) {
			return nil, fmt.Errorf("row %d is too far from the others for float32: scale the features (--scale)", i+1)
		}
		out[i] = f
	}
	return out, nil
}
