package authoring

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"github.com/pynomaly/pynomaly-runtime/internal/digest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// driftBins is the file of the bins that a host counts scores in.
const driftBins = "drift.yaml"

// scoreBins is how many bins there are, each with as many of the training scores, where
// the scores allow that.
const scoreBins = 10

// addBins adds bins of sorted training scores to a model.
func addBins(m *manifest.Manifest, scores []float64, files map[string][]byte) {
	edges, proportions := quantileBins(scores)
	files[driftBins] = encodeBins(edges, proportions)
	if m.Files == nil {
		m.Files = map[string]string{}
	}
	m.DriftBins, m.Files[driftBins] = driftBins, digest.Of(files[driftBins])
}

// quantileBins puts edges at the quantiles of sorted scores, which are scores themselves: bin i
// holds the scores in (edges[i-1], edges[i]], the last one those above every edge. Equal
// quantiles are one edge; where all scores are equal, there is one and nothing above it.
func quantileBins(sorted []float64) (edges, proportions []float64) {
	n := len(sorted)
	for k := 1; k < scoreBins; k++ {
		edges = append(edges, sorted[max((k*n+scoreBins-1)/scoreBins, 1)-1])
	}
	edges = slices.Compact(edges)
	below := 0
	for _, e := range edges {
		upTo, _ := slices.BinarySearchFunc(sorted, e, func(s, e float64) int {
			if s <= e {
				return -1
			}
			return 1
		})
		proportions = append(proportions, float64(upTo-below)/float64(n))
		below = upTo
	}
	return edges, append(proportions, float64(n-below)/float64(n))
}

func encodeBins(edges, proportions []float64) []byte {
	list := func(v []float64) []byte {
		var out []byte
		for i, x := range v {
			if i > 0 {
				out = append(out, ", "...)
			}
			out = strconv.AppendFloat(out, x, 'g', -1, 64)
		}
		return out
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "score: {edges: [%s], proportions: [%s]}\n", list(edges), list(proportions))
	return out.Bytes()
}
