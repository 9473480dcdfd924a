package stats

import (
	"fmt"
	"math"
	"slices"

	"go.yaml.in/yaml/v3"

	y "github.com/pynomaly/pynomaly-runtime/internal/strictyaml"
)

// DefaultEdges returns edges that are log-spaced around zero: three per decade from
// 0.001 to 1000, on both sides.
func DefaultEdges() []float64 {
	var positive []float64
	for decade := -3; decade <= 2; decade++ {
		for _, step := range []float64{1, 2, 5} {
			positive = append(positive, step*math.Pow(10, float64(decade)))
		}
	}
	positive = append(positive, 1000)
	edges := []float64{0}
	for _, v := range positive {
		edges = append(edges, v, -v)
	}
	slices.Sort(edges)
	return edges
}

// DriftEdges reads the score's bins from a drift file: {score: {edges, proportions},
// features: {name: {edges or categories, proportions}}}.
func DriftEdges(data []byte) ([]float64, error) {
	var score bins
	features := map[string]*bins{}
	d := y.Decode(data, y.Fields{
		"score": score.fields(),
		"features": y.Map(func(name string) y.Field {
			features[name] = &bins{}
			return features[name].fields()
		}),
	})
	score.check(d, "score")
	for name, b := range features {
		b.check(d, "features."+name)
	}
	if err := d.Err(); err != nil {
		return nil, err
	}
	return score.edges, nil
}

// bins are bins of reference quantiles. Bin i is (edges[i-1], edges[i]].
type bins struct {
	edges, proportions []float64
	categories         []string
}

func (b *bins) fields() y.Field {
	floats := func(to *[]float64) y.Field {
		return y.List(func(i int) y.Field {
			return func(d *y.Decoder, n *yaml.Node, path *y.Path) {
				*to = append(*to, 0)
				y.Float(&(*to)[i])(d, n, path)
			}
		})
	}
	return y.Object(y.Fields{"edges": floats(&b.edges), "proportions": floats(&b.proportions), "categories": y.Strings(&b.categories)})
}

func (b *bins) check(d *y.Decoder, path string) {
	const most = 1000
	want := len(b.edges) + 1
	if b.categories != nil {
		want = len(b.categories)
	}
	switch {
	case len(b.edges) == 0 && b.categories == nil:
		d.Problemf(path, "needs edges")
	case want > most:
		d.Problemf(path, "has %d bins; at most %d are kept", want, most)
	case len(b.proportions) != want:
		d.Problemf(path+".proportions", "must list %d shares, one a bin", want)
	}
	for i, p := range b.proportions {
		if p < 0 || p > 1 {
			d.Problemf(fmt.Sprintf("%s.proportions[%d]", path, i), "must be a share from 0 to 1")
		}
	}
	for i := 1; i < len(b.edges); i++ {
		if b.edges[i] <= b.edges[i-1] {
			d.Problemf(fmt.Sprintf("%s.edges[%d]", path, i), "must be above the edge before it")
		}
	}
}
