package graph

import "math"

// mostExact bounds the numbers that are tracked. All integers up to it are exact in
// a float32 and cannot overflow an int32, so that ranges hold for every type in
// which the model may compute.
const mostExact = 1 << 24

// limit returns nil unless all spans are ranges of integers within mostExact.
func limit(spans []span) []span {
	for _, s := range spans {
		whole := s.lo == math.Trunc(s.lo) && s.hi == math.Trunc(s.hi)
		if !whole || s.lo < -mostExact || s.hi > mostExact {
			return nil
		}
	}
	return spans
}

// arithmetic returns the ranges of an elementwise operation's results, or nil if
// they are unknown.
func arithmetic(c *call, size *fact, do func(v []span) span) []span {
	n := 1.0
	for _, d := range size.dims {
		if !d.exact() {
			return nil
		}
		n *= d.hi
	}
	if !size.ranked || n > mostSpans {
		return nil
	}
	out := make([]span, int(n))
	v := make([]span, len(c.in))
	for i := range out {
		for k, f := range c.in {
			switch {
			case f == nil || limit(f.spans) == nil:
				return nil
			case len(f.spans) == len(out):
				v[k] = f.spans[i]
			case len(f.spans) == 1:
				v[k] = f.spans[0]
			default:
				return nil
			}
		}
		// With several dimensions, inputs with equally many elements may be
		// broadcast in different directions.
		if len(size.dims) > 1 && len(out) > 1 {
			return nil
		}
		out[i] = do(v)
	}
	return limit(out)
}

// operations holds the operators that compute sizes.
var operations = map[string]func(v []span) span{
	"Add": func(v []span) span { return span{lo: v[0].lo + v[1].lo, hi: v[0].hi + v[1].hi} },
	"Sub": func(v []span) span { return span{lo: v[0].lo - v[1].hi, hi: v[0].hi - v[1].lo} },
	"Mul": func(v []span) span {
		return corners(v[0], v[1], func(a, b float64) float64 { return a * b })
	},
	"Div": func(v []span) span {
		if v[1].lo <= 0 && v[1].hi >= 0 {
			return span{lo: math.Inf(-1), hi: math.Inf(1)}
		}
		s := corners(v[0], v[1], func(a, b float64) float64 { return a / b })
		// This range holds for both integer and float division.
		return span{lo: math.Floor(s.lo), hi: math.Ceil(s.hi)}
	},
	"Max": func(v []span) span {
		out := v[0]
		for _, s := range v[1:] {
			out = span{lo: max(out.lo, s.lo), hi: max(out.hi, s.hi)}
		}
		return out
	},
	"Min": func(v []span) span {
		out := v[0]
		for _, s := range v[1:] {
			out = span{lo: min(out.lo, s.lo), hi: min(out.hi, s.hi)}
		}
		return out
	},
	"Equal": truth, "Less": truth, "Greater": truth, "Not": truth, "And": truth, "Or": truth, "LessOrEqual": truth, "GreaterOrEqual": truth,
	"Where": func(v []span) span {
		if v[1] == v[2] {
			return v[1]
		}
		return span{lo: min(v[1].lo, v[2].lo), hi: max(v[1].hi, v[2].hi)}
	},
	"Neg":   func(v []span) span { return span{lo: -v[0].hi, hi: -v[0].lo} },
	"Abs":   func(v []span) span { return span{lo: 0, hi: max(math.Abs(v[0].lo), math.Abs(v[0].hi))} },
	"Floor": func(v []span) span { return span{lo: math.Floor(v[0].lo), hi: math.Floor(v[0].hi)} },
	"Ceil":  func(v []span) span { return span{lo: math.Ceil(v[0].lo), hi: math.Ceil(v[0].hi)} },
}

func truth([]span) span { return span{lo: 0, hi: 1} }

func corners(a, b span, do func(a, b float64) float64) span {
	w, x, y, z := do(a.lo, b.lo), do(a.lo, b.hi), do(a.hi, b.lo), do(a.hi, b.hi)
	return span{lo: min(w, x, y, z), hi: max(w, x, y, z)}
}
