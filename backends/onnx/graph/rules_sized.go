package graph

import "math"

func tileRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	times, err := c.need(1)
	if err != nil {
		return nil, err
	}
	if c.arg(2) != nil || times.spans == nil {
		return nil, c.errUnknown()
	}
	reps := notNegative(times.spans)
	if !f.ranked || len(reps) != len(f.dims) {
		return c.same(counted(f.count * shaped(reps...).count)), nil
	}
	dims := make([]span, len(reps))
	for i, r := range reps {
		dims[i] = multiply([]span{f.dims[i], r})
	}
	out := shaped(dims...)
	out.loose = !times.fixed()
	return c.same(out), nil
}

func rangeRule(c *call) ([]*fact, error) {
	var v [3]span
	loose := false
	for i := range v {
		f := c.arg(i)
		if f == nil || len(f.spans) != 1 {
			return nil, c.errUnknown()
		}
		v[i] = f.spans[0]
		loose = loose || !v[i].fixed()
	}
	var n span
	switch start, end, step := v[0], v[1], v[2]; {
	case step.lo > 0:
		n = span{lo: 0, hi: steps(end.hi-start.lo, step.lo)}
		if start.exact() && start.lo == 0 && step.exact() && step.lo == 1 && end.lo >= 0 && end.lo == math.Trunc(end.lo) {
			n = end
		}
	case step.hi < 0:
		n = span{lo: 0, hi: steps(start.hi-end.lo, -step.hi)}
	default:
		return nil, c.errUnknown()
	}
	out := shaped(n)
	// A range that starts at the number of rows is longer when there are fewer rows.
	out.loose = loose || v[0].rows || v[2].rows
	if n.exact() && n.hi <= mostSpans { // from 0 in steps of 1
		spans := make([]span, int(n.hi))
		for i := range spans {
			spans[i] = exactly(float64(i))
		}
		out = out.with(spans)
	}
	return c.same(out), nil
}

// steps bounds the length of a range for every type in which it may be computed.
func steps(length, step float64) float64 {
	return math.Ceil(max(0, length)/step*(1+1e-6)) + 1
}

func oneHotRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	depth := c.arg(1)
	if depth == nil || len(depth.spans) != 1 {
		return nil, c.errUnknown()
	}
	n := notNegative(depth.spans)[0]
	out := counted(f.count * max(n.hi, 1))
	if at := c.int("axis", -1); f.ranked && at == -1 {
		out = shaped(append(append([]span{}, f.dims...), n)...)
	}
	out.loose = !n.fixed()
	return c.same(out), nil
}

func topKRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	if !f.ranked {
		return atMostRule(c)
	}
	at, err := c.axis(f, -1)
	if err != nil {
		return nil, err
	}
	dims := append([]span{}, f.dims...)
	k, _ := c.list("k", 1)
	loose := true
	if len(k) == 1 && k[0].exact() && k[0].lo >= 0 {
		loose = false
		dims[at] = span{lo: min(k[0].lo, dims[at].lo), hi: min(k[0].lo, dims[at].hi)}
		if f.dims[at].exact() {
			dims[at] = exactly(dims[at].hi)
		}
	} else {
		dims[at] = span{lo: 0, hi: dims[at].hi}
	}
	out := shaped(dims...)
	out.loose = loose
	return c.same(out), nil
}

func nonZeroRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	out := counted(f.count * MaxRank)
	if f.ranked {
		out = shaped(exactly(float64(len(f.dims))), span{lo: 0, hi: f.count})
	}
	out.loose = true
	return c.same(out), nil
}

func padRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	pads, _ := c.list("pads", 1)
	if pads == nil {
		pads, _ = c.list("paddings", 1)
	}
	if pads == nil || !f.ranked {
		return nil, c.errUnknown()
	}
	dims := make([]span, len(f.dims))
	whole := c.arg(3) == nil && len(pads) == 2*len(dims)
	loose := false
	all := 0.0
	for _, p := range pads {
		all += max(p.hi, 0)
		loose = loose || !p.exact()
	}
	for i, d := range f.dims {
		dims[i] = span{lo: 0, hi: d.hi + all}
		if whole {
			a, b := pads[i], pads[i+len(dims)]
			dims[i] = span{lo: max(0, d.lo+a.lo+b.lo), hi: max(0, d.hi+a.hi+b.hi)}
		}
	}
	out := shaped(dims...)
	out.loose = loose
	return c.same(out), nil
}

func resizeRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	if !f.ranked || c.attribute("axes") != nil {
		return nil, c.errUnknown()
	}
	if sizes := c.arg(3); sizes != nil {
		if len(sizes.spans) != len(f.dims) {
			return nil, c.errUnknown()
		}
		if policy := c.attribute("keep_aspect_ratio_policy"); policy != nil {
			return nil, c.errUnknown()
		}
		out := shaped(notNegative(sizes.spans)...)
		out.loose = !sizes.fixed()
		return c.same(out), nil
	}
	scales := c.arg(2)
	if len(c.in) <= 2 { // before opset 11
		scales = c.arg(1)
	}
	if scales == nil || len(scales.spans) != len(f.dims) {
		return nil, c.errUnknown()
	}
	dims := make([]span, len(f.dims))
	for i, d := range f.dims {
		dims[i] = span{lo: 0, hi: math.Ceil(d.hi * max(scales.spans[i].hi, 0))}
	}
	out := shaped(dims...)
	out.loose = !scales.fixed()
	return c.same(out), nil
}

func shapeAttributeRule(c *call) ([]*fact, error) {
	var dims []span
	for _, d := range c.ints("shape") {
		dims = append(dims, exactly(float64(max(d, 0))))
	}
	out := shaped(dims...)
	if out.count > MaxElements {
		return nil, problem(TooLarge, "%s computes %s: larger than any model that is supported", c.describe(), out.describe())
	}
	return c.same(out), nil
}

func multinomialRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	d, ok := f.dim(0)
	if !ok {
		return nil, c.errUnknown()
	}
	return c.same(shaped(d, exactly(float64(max(c.int("sample_size", 1), 0))))), nil
}

func splitRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	if !f.ranked {
		return atMostRule(c)
	}
	at, err := c.axis(f, 0)
	if err != nil {
		return nil, err
	}
	parts, given := c.list("split", 1)
	var out []*fact
	for i := range c.outputs {
		dims := append([]span{}, f.dims...)
		d := dims[at]
		switch {
		case i < len(parts) && parts[i].exact():
			dims[at] = exactly(min(max(parts[i].lo, 0), d.hi))
		case !given && d.exact() && math.Mod(d.hi, float64(len(c.outputs))) == 0:
			dims[at] = exactly(d.hi / float64(len(c.outputs)))
		default:
			dims[at] = span{lo: 0, hi: d.hi}
		}
		g := shaped(dims...)
		g.loose = given && parts == nil
		out = append(out, g)
	}
	return out, nil
}

func sliceRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	starts, _ := c.list("starts", 1)
	ends, _ := c.list("ends", 2)
	which, givenAxes := c.list("axes", 3)
	steps, givenSteps := c.list("steps", 4)
	if !givenAxes {
		for i := range starts {
			which = append(which, exactly(float64(i)))
		}
	}
	_, ok := axes(which, len(f.dims))
	known := f.ranked && ok && starts != nil && len(starts) == len(ends) && len(which) == len(starts) && (!givenSteps || len(steps) == len(starts))
	if !known {
		out := f.like()
		out.dims = nil
		for _, d := range f.dims {
			out.dims = append(out.dims, span{lo: 0, hi: d.hi})
		}
		out.full, out.loose = false, true
		return c.same(out), nil
	}
	dims := append([]span{}, f.dims...)
	loose := false
	spans := f.spans
	for i := range starts {
		step := exactly(1)
		if givenSteps {
			step = steps[i]
		}
		at := int(which[i].lo)
		if which[i].lo < 0 {
			at += len(dims)
		}
		var varies bool
		dims[at], varies = cut(dims[at], starts[i], ends[i], step)
		loose = loose || varies
		if len(dims) == 1 && spans != nil {
			spans = sliced(f.spans, starts[i], ends[i], step)
		}
	}
	out := shaped(dims...).with(spans)
	out.loose = loose
	return c.same(out), nil
}

// place returns the position of a slice's start or end v in a list of length n.
func place(v, n float64) float64 {
	if v < 0 {
		v += n
	}
	return min(max(v, 0), n)
}

// cut returns a dimension after a slice. varies says that it need not grow with the
// number of rows.
func cut(d, start, end, step span) (out span, varies bool) {
	if !start.exact() || !end.exact() || !step.exact() || step.lo != 1 {
		if d.exact() && start.exact() && end.exact() && step.exact() {
			return span{lo: 0, hi: d.hi}, false
		}
		return span{lo: 0, hi: d.hi}, true
	}
	size := func(n float64) float64 { return max(0, place(end.lo, n)-place(start.lo, n)) }
	if d.exact() {
		return exactly(size(d.hi)), false
	}
	switch far := end.lo >= 1<<31-1; {
	case start.lo == 0 && far:
		return d, false
	case start.lo < 0 && far, start.lo >= 0, end.lo < 0:
		return span{lo: size(d.lo), hi: size(d.hi)}, false
	}
	return span{lo: 0, hi: d.hi}, true
}

func sliced(from []span, start, end, step span) []span {
	if !start.exact() || !end.exact() || !step.exact() || step.lo != 1 {
		return nil
	}
	a, b := int(place(start.lo, float64(len(from)))), int(place(end.lo, float64(len(from))))
	return append([]span{}, from[a:max(a, b)]...)
}
