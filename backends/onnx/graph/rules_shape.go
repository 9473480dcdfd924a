package graph

import "math"

func (c *call) axis(f *fact, otherwise int64) (int, error) {
	at := c.int("axis", otherwise)
	if at < 0 {
		at += int64(len(f.dims))
	}
	if at < 0 || at >= int64(len(f.dims)) {
		return 0, problem(Malformed, "%s has axis %d of %d", c.describe(), c.int("axis", otherwise), len(f.dims))
	}
	return int(at), nil
}

func concatRule(c *call) ([]*fact, error) {
	first, err := c.need(0)
	if err != nil {
		return nil, err
	}
	for _, f := range c.in {
		if f == nil || !f.ranked || len(f.dims) != len(first.dims) {
			return sumRule(c)
		}
	}
	at, err := c.axis(first, 1)
	if err != nil {
		return nil, err
	}
	dims := append([]span{}, first.dims...)
	spans := first.spans
	for _, f := range c.in[1:] {
		for i, d := range f.dims {
			switch {
			case i == at:
				dims[i] = span{lo: dims[i].lo + d.lo, hi: dims[i].hi + d.hi}
			case dims[i] != d:
				dims[i] = span{lo: min(dims[i].lo, d.lo), hi: max(dims[i].hi, d.hi)}
			}
		}
		if spans == nil || f.spans == nil || len(dims) != 1 {
			spans = nil
			continue
		}
		spans = append(append([]span{}, spans...), f.spans...)
	}
	return c.same(shaped(dims...).with(spans)), nil
}

func gatherRule(c *call) ([]*fact, error) {
	data, err := c.need(0)
	if err != nil {
		return nil, err
	}
	at, err := c.need(1)
	if err != nil {
		return nil, err
	}
	if !data.ranked || !at.ranked {
		return timesRule(c)
	}
	axis, err := c.axis(data, 0)
	if err != nil {
		return nil, err
	}
	dims := append([]span{}, data.dims[:axis]...)
	dims = append(append(dims, at.dims...), data.dims[axis+1:]...)
	out := shaped(dims...)
	if len(data.dims) == 1 && data.spans != nil && at.spans != nil {
		out = out.with(picked(data.spans, at.spans))
	}
	return c.same(out), nil
}

func picked(from, at []span) []span {
	var out []span
	for _, s := range at {
		i := s.lo
		if i < 0 {
			i += float64(len(from))
		}
		if !s.exact() || i < 0 || i >= float64(len(from)) {
			return nil
		}
		out = append(out, from[int(i)])
	}
	return out
}

func transposeRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	if !f.ranked {
		return c.same(f.like()), nil
	}
	dims := make([]span, len(f.dims))
	perm := c.ints("perm")
	for i := range dims {
		from := int64(len(dims) - 1 - i)
		if perm != nil {
			if len(perm) != len(dims) || perm[i] < 0 || perm[i] >= int64(len(dims)) {
				return nil, problem(Malformed, "%s has a wrong perm", c.describe())
			}
			from = perm[i]
		}
		dims[i] = f.dims[from]
	}
	return c.same(shaped(dims...)), nil
}

func squeezeRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	spans, given := c.list("axes", 1)
	var dims []span
	which, ok := axes(spans, len(f.dims))
	if !f.ranked || (given && !ok) {
		out := counted(f.count)
		out.full = f.full
		return c.same(out), nil
	}
	for i, d := range f.dims {
		if given && which[i] {
			continue
		}
		if !given && d.lo <= 1 && d.hi >= 1 {
			if d.exact() {
				continue
			}
			// Squeeze removes this dimension only in calls where it is 1.
			out := counted(f.count)
			out.full = f.full
			return c.same(out), nil
		}
		dims = append(dims, d)
	}
	return c.same(shaped(dims...).with(f.spans)), nil
}

func unsqueezeRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	spans, _ := c.list("axes", 1)
	rank := len(f.dims) + len(spans)
	which, ok := axes(spans, rank)
	if !f.ranked || !ok || len(which) != len(spans) {
		out := counted(f.count)
		out.full = f.full
		return c.same(out), nil
	}
	var dims []span
	rest := f.dims
	for i := range rank {
		if which[i] {
			dims = append(dims, exactly(1))
			continue
		}
		dims, rest = append(dims, rest[0]), rest[1:]
	}
	return c.same(shaped(dims...).with(f.spans)), nil
}

func flattenRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	at := c.int("axis", 1)
	if at < 0 {
		at += int64(len(f.dims))
	}
	if !f.ranked || at < 0 || at > int64(len(f.dims)) {
		return c.same(shaped(span{lo: 0, hi: f.count}, span{lo: 0, hi: f.count}).bounded(f)), nil
	}
	return c.same(shaped(multiply(f.dims[:at]), multiply(f.dims[at:])).bounded(f)), nil
}

// multiply returns the product of dimensions.
func multiply(dims []span) span {
	out := exactly(1)
	for _, d := range dims {
		switch {
		case out.exact() && out.lo == 1:
			out = d
		case d.exact() && d.lo == 1:
		default:
			out = span{lo: out.lo * d.lo, hi: out.hi * d.hi}
		}
	}
	return out
}

// bounded lowers the count of f to that of by, which has as many elements.
func (f *fact) bounded(by *fact) *fact {
	if by.full {
		f.full = true
		f.count = min(f.count, by.count)
	}
	return f
}

func reshapeRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	spans, _ := c.list("shape", 1)
	if spans == nil {
		if !f.full {
			return nil, c.errUnknown() // an empty value can have any shape
		}
		out := counted(f.count)
		out.full, out.loose = true, true
		return c.same(out), nil
	}
	var dims []span
	open := -1
	var others []span
	loose := false
	for i, s := range spans {
		switch {
		case s.exact() && s.lo == 0 && c.int("allowzero", 0) == 0:
			d, ok := f.dim(int64(i))
			if !ok {
				d = span{lo: 0, hi: f.count}
			}
			s = d
		case s.exact() && s.lo == -1:
			if open >= 0 {
				return nil, problem(Malformed, "%s leaves two dimensions open", c.describe())
			}
			open = i
			dims = append(dims, s)
			continue
		case s.lo < 1 && !s.exact() || s.lo < -1:
			loose = true
			s = span{lo: 0, hi: max(s.hi, f.count)} // 0 copies a dimension, -1 infers one
		default:
			loose = loose || !s.fixed()
		}
		dims = append(dims, s)
		others = append(others, s)
	}
	if open >= 0 {
		var exact bool
		dims[open], exact = quotient(f, others)
		loose = loose || !exact
	}
	out := shaped(dims...).bounded(f)
	out.loose = loose
	if len(dims) <= 1 {
		out = out.with(f.spans)
	}
	return c.same(out), nil
}

// factors returns how many of the dimensions are the number of rows, and the product
// of the others.
func factors(dims []span) (rows int, rest span) {
	rest = exactly(1)
	for _, d := range dims {
		if d.rows {
			rows++
			continue
		}
		rest = multiply([]span{rest, d})
	}
	return rows, rest
}

// quotient returns the dimension that a reshape of f infers from the others. fixed
// says that it depends only on the number of rows and grows with it.
func quotient(f *fact, others []span) (d span, fixed bool) {
	total, by := multiply(f.dims), multiply(others)
	if !f.ranked {
		total = span{lo: 0, hi: f.count}
	}
	plain := span{lo: 0, hi: math.Floor(total.hi / max(by.lo, 1))}
	if f.full {
		plain.lo = 1
	}
	rowsOfAll, rest := factors(f.dims)
	rows, restOfOthers := factors(others)
	if !f.ranked || !rest.exact() || !restOfOthers.exact() || restOfOthers.lo <= 0 {
		return plain, false
	}
	ratio := rest.lo / restOfOthers.lo
	switch {
	case rows == rowsOfAll:
		return exactly(math.Floor(ratio)), true
	case rows+1 == rowsOfAll && ratio == 1:
		for _, d := range f.dims {
			if d.rows {
				return d, true
			}
		}
	}
	return plain, rows < rowsOfAll
}

func expandRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	to, err := c.need(1)
	if err != nil {
		return nil, err
	}
	if to.spans == nil {
		return nil, c.errUnknown()
	}
	size := shaped(notNegative(to.spans)...)
	out := broadcast([]*fact{f, size})
	out.loose = !to.fixed()
	return c.same(out), nil
}

// notNegative raises negative ends of ranges to 0.
func notNegative(spans []span) []span {
	out := make([]span, len(spans))
	for i, s := range spans {
		out[i] = span{lo: max(s.lo, 0), hi: max(s.hi, 0), rows: s.rows}
	}
	return out
}

func constantOfShapeRule(c *call) ([]*fact, error) {
	to, err := c.need(0)
	if err != nil {
		return nil, err
	}
	if to.spans == nil {
		return nil, c.errUnknown()
	}
	out := shaped(notNegative(to.spans)...)
	out.loose = !to.fixed()
	value := exactly(0)
	if a := c.attribute("value"); a != nil {
		if len(a.tensors) != 1 || a.tensors[0].count != 1 {
			return c.same(out), nil
		}
		n := a.tensors[0].numbers()
		if len(n) != 1 {
			return c.same(out), nil
		}
		value = n[0]
	}
	if len(out.dims) == 1 && out.dims[0].exact() && out.count <= mostSpans {
		spans := make([]span, int(out.dims[0].hi))
		for i := range spans {
			spans[i] = value
		}
		out = out.with(spans)
	}
	return c.same(out), nil
}
