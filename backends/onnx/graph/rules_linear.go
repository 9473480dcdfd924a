package graph

import (
	"math"
	"strings"
)

// matMul returns the rule of matrix products of the inputs a and b.
func matMul(a, b int) rule {
	return func(c *call) ([]*fact, error) {
		x, err := c.need(a)
		if err != nil {
			return nil, err
		}
		y, err := c.need(b)
		if err != nil {
			return nil, err
		}
		if !x.ranked || !y.ranked || len(x.dims) == 0 || len(y.dims) == 0 {
			return c.same(broadcastUnranked([]*fact{x, y})), nil
		}
		var tail []span
		p, q := x.dims, y.dims
		if len(p) > 1 {
			tail = append(tail, p[len(p)-2])
			p = p[:len(p)-2]
		} else {
			p = nil
		}
		if len(q) > 1 {
			tail = append(tail, q[len(q)-1])
			q = q[:len(q)-2]
		} else {
			q = nil
		}
		batch := broadcast([]*fact{shaped(p...), shaped(q...)})
		return c.same(shaped(append(batch.dims, tail...)...)), nil
	}
}

func gemmRule(c *call) ([]*fact, error) {
	a, err := c.need(0)
	if err != nil {
		return nil, err
	}
	b, err := c.need(1)
	if err != nil {
		return nil, err
	}
	turn := func(name string, i int64) int64 { return map[bool]int64{false: i, true: 1 - i}[c.int(name, 0) != 0] }
	m, ok1 := a.dim(turn("transA", 0))
	n, ok2 := b.dim(turn("transB", 1))
	if !ok1 || !ok2 {
		return c.same(broadcastUnranked([]*fact{a, b})), nil
	}
	return c.same(shaped(m, n)), nil
}

func einsumRule(c *call) ([]*fact, error) {
	a := c.attribute("equation")
	const most = 1000 // bytes; more than any rank needs
	if a == nil || len(a.strings) != 1 || len(a.strings[0]) > most {
		return nil, c.errUnknown()
	}
	equation := strings.ReplaceAll(string(a.strings[0]), " ", "")
	from, to, given := strings.Cut(equation, "->")
	terms := strings.Split(from, ",")
	if !given || strings.Contains(equation, ".") || len(terms) != len(c.in) {
		return c.same(broadcastUnranked(c.in)), nil
	}
	sizes := map[byte]span{}
	for i, term := range terms {
		f := c.arg(i)
		if f == nil || !f.ranked || len(f.dims) != len(term) {
			return c.same(broadcastUnranked(c.in)), nil
		}
		for k := range len(term) {
			d, seen := sizes[term[k]]
			if !seen {
				d = exactly(1)
			}
			sizes[term[k]] = stretch(d, f.dims[k])
		}
	}
	var dims []span
	for k := range len(to) {
		d, ok := sizes[to[k]]
		if !ok {
			d = exactly(1)
		}
		dims = append(dims, d)
	}
	return c.same(shaped(dims...)), nil
}

// sum adds an attribute's integers without overflow.
func sum(v []int64) float64 {
	out := 0.0
	for _, i := range v {
		out += math.Abs(float64(i))
	}
	return out
}

// conv returns the rule of convolutions of input x with the weights w.
func conv(x, w int) rule {
	return func(c *call) ([]*fact, error) {
		f, err := c.need(x)
		if err != nil {
			return nil, err
		}
		k, err := c.need(w)
		if err != nil {
			return nil, err
		}
		if !f.ranked || !k.ranked || len(f.dims) < 2 || len(k.dims) != len(f.dims) {
			return nil, c.errUnknown()
		}
		dims := []span{f.dims[0], k.dims[0]}
		patch := k.dims[1].hi
		for i, d := range f.dims[2:] {
			dims = append(dims, span{lo: 0, hi: d.hi + sum(c.ints("pads"))})
			patch *= max(k.dims[i+2].hi, 1)
		}
		out := shaped(dims...)
		// The operator copies the patches that it multiplies.
		return append(c.same(out), counted(out.count/max(dims[1].hi, 1)*patch)), nil
	}
}

func convTransposeRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	k, err := c.need(1)
	if err != nil {
		return nil, err
	}
	if !f.ranked || !k.ranked || len(f.dims) < 2 || len(k.dims) != len(f.dims) {
		return nil, c.errUnknown()
	}
	dims := []span{f.dims[0], {lo: 0, hi: k.dims[1].hi * float64(max(c.int("group", 1), 1))}}
	at := func(name string, i int, otherwise float64) float64 {
		if v := c.ints(name); i < len(v) {
			return math.Abs(float64(v[i]))
		}
		return otherwise
	}
	patch := 1.0
	for i, d := range f.dims[2:] {
		size := at("strides", i, 1)*d.hi + at("output_padding", i, 0) + at("dilations", i, 1)*k.dims[i+2].hi + sum(c.ints("pads"))
		dims = append(dims, span{lo: 0, hi: max(size, at("output_shape", i, 0))})
		patch *= max(k.dims[i+2].hi, 1)
	}
	out := shaped(dims...)
	return append(c.same(out), counted(dims[1].hi*patch*f.count)), nil
}

func poolRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	if !f.ranked || len(f.dims) < 2 {
		return nil, c.errUnknown()
	}
	dims := append([]span{}, f.dims[:2]...)
	for _, d := range f.dims[2:] {
		dims = append(dims, span{lo: 0, hi: d.hi + sum(c.ints("pads")) + 1})
	}
	return c.same(shaped(dims...)), nil
}

func globalPoolRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	if !f.ranked || len(f.dims) < 2 {
		return nil, c.errUnknown()
	}
	dims := append([]span{}, f.dims[:2]...)
	for range f.dims[2:] {
		dims = append(dims, exactly(1))
	}
	return c.same(shaped(dims...)), nil
}

func spaceRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	// The output has as many elements, and no dimension of it exceeds their number.
	if !f.full {
		return nil, c.errUnknown()
	}
	out := counted(f.count)
	out.full = true
	return c.same(out), nil
}

func recurrentRule(c *call) ([]*fact, error) {
	x, err := c.need(0)
	if err != nil {
		return nil, err
	}
	r, err := c.need(2)
	if err != nil {
		return nil, err
	}
	if !x.ranked || !r.ranked || len(x.dims) != 3 || len(r.dims) != 3 {
		return nil, c.errUnknown()
	}
	hidden := max(r.dims[2].hi, float64(c.int("hidden_size", 0)))
	all := x.dims[0].hi * x.dims[1].hi * max(r.dims[0].hi, 1) * hidden
	out := counted(max(all, 1))
	if c.int("layout", 0) == 0 {
		out = shaped(x.dims[0], r.dims[0], x.dims[1], exactly(hidden))
	}
	outs := c.same(out)
	for i := 1; i < len(outs); i++ { // the last state
		outs[i] = counted(max(all, 1))
	}
	// The operator computes up to four gates per step.
	return append(outs, counted(4*max(all, 1))), nil
}
