package plan

import (
	"math"
	"math/rand/v2"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/forest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Trial knows where the scores of a plan change: at the values that its trees
// compare with. A plan is proved on such rows.
type Trial struct {
	points []point
	train  []float64        // training rows of the search found, row after row
	found  *search          // the first search; nil: there is none
	seen   int              // of which some are kept
	texts  map[int][]string // by feature, those that rows are compared with
}

// point is a value with which a tree compares a feature, or a register.
type point struct {
	feature  int // -1: the register
	register int
	value    float64
}

// mostPoints bounds what a trial keeps.
const mostPoints = 1 << 13

// note keeps the values of a forest, evenly drawn if there are many.
func (t *Trial) note(r *recogniser, w *wood, e *forest.Ensemble) {
	loads := map[int]int{}
	for _, s := range r.steps {
		if s.op == opLoad && s.text == "" {
			loads[s.to] = s.at
		}
	}
	for _, nodes := range e.Trees {
		for i := range nodes {
			n := &nodes[i]
			if n.Mode == forest.Leaf {
				continue
			}
			p := point{feature: n.Feature}
			if !w.direct {
				p.register = w.columns[n.Feature]
				at, ok := loads[p.register]
				if p.feature = at; !ok {
					p.feature = -1
				}
			}
			values := []float64{n.Value}
			if n.Mode == forest.Member {
				values = n.Members
			}
			for _, p.value = range values {
				t.keep(p)
			}
		}
	}
}

func (t *Trial) keep(p point) {
	t.seen++
	if len(t.points) < mostPoints {
		t.points = append(t.points, p)
		return
	}
	// A fixed sequence, as good as drawn: the proof of a graph is always the same.
	if at := uint64(t.seen) * 0x9e3779b97f4a7c15 >> 20 % uint64(t.seen); at < mostPoints {
		t.points[at] = p
	}
}

// move renumbers registers, and drops the points of registers that are not live.
func (t *Trial) move(live []bool, at []int) {
	kept := t.points[:0]
	for _, p := range t.points {
		if p.feature < 0 {
			if !live[p.register] {
				continue
			}
			p.register = at[p.register]
		}
		kept = append(kept, p)
	}
	t.points = kept
}

// Rows returns n rows made of the rows of base, which has at least one: copies in which
// one feature, or all, are at values that trees compare with or at one of the two
// neighbours, and rows that are drawn around those of base. Features that are compared
// with texts have these, or the base's. With missing, which
// tells for each feature whether NaN may come, some features are NaN.
func (t *Trial) Rows(p *Plan, base *sdk.Batch, n int, missing []bool, random *rand.Rand) *sdk.Batch {
	out := sdk.NewBatch(base.Features())
	out.Resize(n)
	byFeature := map[int][]float64{}
	for _, pt := range t.points {
		byFeature[pt.feature] = append(byFeature[pt.feature], pt.value)
	}
	at := 0
	from := t.origins(p, base)
	for i := range n {
		out.CopyRow(i, base, i%base.Rows())
		trained := i%4 < 2 && len(from) > 0
		switch {
		case trained:
			t.between(out, i, from, random)
		case i%4 == 3 && i%8 == 3:
			scatter(out, i, random)
		case i%4 == 3:
			for j := range base.Features() {
				if values := byFeature[j]; len(values) > 0 {
					put(out, i, j, values[random.IntN(len(values))], random.IntN(3)-1)
				}
			}
		case len(t.points) > 0:
			pt := t.points[at*stride(len(t.points))%len(t.points)]
			x, j, ok := pt.value, pt.feature, true
			if j < 0 {
				x, j, ok = p.inverse(out, i, pt)
			}
			if !ok {
				scatter(out, i, random)
			} else {
				put(out, i, j, x, i%4-1)
			}
			if i%4 == 2 {
				at++
			}
		}
		for j := range out.Features() {
			if texts := t.texts[j]; len(texts) > 0 && i >= base.Rows() && !trained && random.IntN(4) > 0 {
				_ = out.SetValue(i, j, texts[random.IntN(len(texts))]) // the feature holds texts
			}
		}
		for j, may := range missing {
			if may && random.IntN(8) == 0 {
				put(out, i, j, math.NaN(), 0)
			}
		}
	}
	return out
}

// stride returns a step that is coprime to n, so that points are taken from all
// over.
func stride(n int) int {
	for _, s := range []int{7919, 6151, 4093, 1} {
		if n%s != 0 {
			return s
		}
	}
	return 1
}

// put sets a feature to the number of its type that is next to x: above it if
// side is 1, below if it is -1.
func put(b *sdk.Batch, row, j int, x float64, side int) {
	far := math.Inf(side)
	var v any
	switch b.Features()[j].DType {
	case sdk.Float32:
		f := float32(x)
		if side != 0 {
			f = math.Nextafter32(f, float32(far))
		}
		v = f
	case sdk.Float64:
		if v = x; side != 0 {
			v = math.Nextafter(x, far)
		}
	case sdk.Int64:
		if math.IsNaN(x) {
			return
		}
		v = int64(math.Round(min(max(x, -1<<53), 1<<53))) + int64(side)
	case sdk.Bool:
		v = x+float64(side) > 0
	default:
		return
	}
	_ = b.SetValue(row, j, v) // it is of the feature's type
}

// scatter draws a row's numbers anew, some of them far away.
func scatter(b *sdk.Batch, row int, random *rand.Rand) {
	for j, f := range b.Features() {
		if random.IntN(3) == 0 {
			continue
		}
		x := random.NormFloat64() * math.Pow(10, float64(random.IntN(7)-3))
		if f.DType == sdk.Float32 {
			x = float64(float32(x))
		}
		put(b, row, j, x, 0)
	}
}

// inverse returns the feature, and its value, that gives a register a value, if
// the register is computed of one feature in a straight line.
func (p *Plan) inverse(b *sdk.Batch, row int, pt point) (x float64, feature int, ok bool) {
	feature = p.only(pt.register)
	if feature < 0 || !b.Features()[feature].DType.Numeric() {
		return 0, 0, false
	}
	one := sdk.NewBatch(b.Features())
	one.Resize(1)
	one.CopyRow(0, b, row)
	s := p.state()
	defer p.states.Put(s)
	value := func(x float64) float64 {
		put(one, 0, feature, x, 0)
		p.run(s, one, 0, 1)
		return s.lanes[pt.register][0]
	}
	const apart = 64
	low, high := value(-apart), value(apart)
	if !(high != low) || math.IsInf(high-low, 0) || math.IsNaN(high-low) {
		return 0, 0, false
	}
	x = -apart + (pt.value-low)*(2*apart)/(high-low)
	// A second look removes what rounding and other slopes leave.
	if y := value(x); y == y && !math.IsInf(y, 0) {
		x += (pt.value - y) * (2 * apart) / (high - low)
	}
	return x, feature, x == x && !math.IsInf(x, 0)
}
