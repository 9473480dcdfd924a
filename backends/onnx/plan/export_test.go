package plan

import "github.com/pynomaly/pynomaly-runtime/sdk"

// Distances returns how far each row is from the nearest training row.
func Distances(p *Plan, in *sdk.Batch) []float64 {
	s := p.state()
	out := make([]float64, in.Rows())
	for i := range out {
		p.run(s, in, i, i+1)
		out[i] = s.lanes[p.searches[0].dist[0]][0]
	}
	return out
}
