package authoring

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"github.com/pynomaly/pynomaly-runtime/internal/digest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// driftBins is the file of the bins in which a host counts scores.
const driftBins = "drift.yaml"

// scoreBins is the number of bins. Each has as many of the training scores, if the
// scores allow it.
const scoreBins = 10

// addBins adds bins of the sorted training scores to a model.
func addBins(m *manifest.Manifest, scores []float64, files map[string][]byte) {
	edges, proportions := quantileBins(scores)
	files[driftBins] = encodeBins(edges, proportions)
	if m.Files == nil {
		m.Files = map[string]string{}
	}
	m.DriftBins, m.Files[driftBins] = driftBins, digest.Of(files[driftBins])
}

// quantileBins puts edges at quantiles of the sorted scores. Bin i holds the scores
// in (edges[i-1], edges[i]], and the last bin those above every edge. Equal
// quantiles make one edge. If all scores are equal, there is one edge and no score
// above it.
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
