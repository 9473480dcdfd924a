package plan

import (
	"math"
	"math/rand/v2"

	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// rows keeps the training rows of the first search.
func (t *Trial) rows(f *search, train []float64) {
	if t.found == nil {
		t.found, t.train = f, train
	}
}

// origin says which feature gives a column of a search its values, in a straight line:
// column = low + slope (feature - at), or whether the feature has a text.
type origin struct {
	feature       int // -1: not known
	at, low, step float64
	text          string
	isText        bool
}

// origins returns where the columns of the trial's search come from.
func (t *Trial) origins(p *Plan, base *sdk.Batch) []origin {
	if t.found == nil || len(p.searches) == 0 || p.searches[0].index != t.found.index {
		return nil
	}
	out := make([]origin, t.found.index.Features())
	if t.found.direct {
		for j := range out {
			out[j] = origin{feature: j, step: 1}
		}
		return out
	}
	low, high := ends(base)
	rows := sdk.NewBatch(base.Features())
	rows.Resize(2)
	for i, values := range [][]float64{low, high} {
		rows.CopyRow(i, base, 0)
		for j, v := range values {
			put(rows, i, j, v, 0)
		}
	}
	s := p.state()
	defer p.states.Put(s)
	p.run(s, rows, 0, 2)
	for j, register := range p.searches[0].columns {
		f := p.only(register)
		out[j] = origin{feature: f}
		switch {
		case f < 0 && len(out) == len(low): // normalised, say: the row itself has its direction
			out[j] = origin{feature: j, step: 1}
		case f < 0:
		case base.Features()[f].DType == sdk.String:
			out[j].text, out[j].isText = p.textOf(register)
		default:
			a, b := s.lanes[register][0], s.lanes[register][1]
			out[j].at, out[j].low, out[j].step = number64(rows, 0, f), a, (b-a)/(number64(rows, 1, f)-number64(rows, 0, f))
		}
	}
	return out
}

// ends returns for each feature two different values near the middle of those of base,
// where steps that bound numbers leave a straight line.
func ends(base *sdk.Batch) (low, high []float64) {
	for j, f := range base.Features() {
		a, b := math.Inf(1), math.Inf(-1)
		for i := range base.Rows() {
			if v := number64(base, i, j); v-v == 0 {
				a, b = min(a, v), max(b, v)
			}
		}
		switch {
		case a > b:
			a, b = 0, 5
		case a == b:
			a, b = a-5, b+5
		}
		if f.DType == sdk.Float32 || f.DType == sdk.Float64 {
			a, b = a+0.4*(b-a), a+0.6*(b-a)
		}
		low, high = append(low, a), append(high, b)
	}
	return low, high
}

// number64 returns a row's number; of texts, 0.
func number64(b *sdk.Batch, row, j int) float64 {
	switch v := b.Value(row, j).(type) {
	case float32:
		return float64(v)
	case float64:
		return v
	case int64:
		return float64(v)
	case bool:
		return truth(v)
	}
	return 0
}

// textOf returns the text with which a register compares a feature.
func (p *Plan) textOf(register int) (text string, ok bool) {
	for i := range p.steps {
		if s := &p.steps[i]; s.op == opLoad && s.to == register {
			return s.text, true
		}
	}
	return "", false
}

// between makes a row that is a training row to the search, or lies on a line between
// two of them. Columns whose origin is not known stay as they are.
func (t *Trial) between(b *sdk.Batch, row int, from []origin, random *rand.Rand) {
	d := len(from)
	n := len(t.train) / d
	one, other := t.train[random.IntN(n)*d:], t.train[random.IntN(n)*d:]
	share := []float64{0, 0.5, random.Float64(), 1.5}[random.IntN(4)]
	for j, o := range from {
		x := one[j] + share*(other[j]-one[j])
		switch {
		case o.isText && one[j] > 0.5:
			_ = b.SetValue(row, o.feature, o.text) // the feature holds texts
		case o.feature < 0 || o.isText || !(o.step != 0) || o.step-o.step != 0:
		default:
			put(b, row, o.feature, o.at+(x-o.low)/o.step, 0)
		}
	}
}

// only returns the one feature that a register depends on, or -1.
func (p *Plan) only(register int) int {
	uses := map[int]bool{register: true}
	feature := -1
	for i := len(p.steps) - 1; i >= 0; i-- {
		s := &p.steps[i]
		if !uses[s.to] {
			continue
		}
		switch n := s.op.operands(); s.op {
		case opWood, opNearest:
			return -1
		case opLoad:
			if feature >= 0 && feature != s.at {
				return -1
			}
			feature = s.at
		default:
			uses[s.a] = true
			uses[s.b] = uses[s.b] || n > 1
			uses[s.c] = uses[s.c] || n > 2
		}
	}
	return feature
}
