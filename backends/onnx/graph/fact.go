package graph

import (
	"encoding/binary"
	"math"
)

// span is a closed range of numbers. If rows is set, the number is the number of
// rows of a call.
type span struct {
	lo, hi float64
	rows   bool
}

func exactly(v float64) span { return span{lo: v, hi: v} }

func (s span) exact() bool { return s.lo == s.hi }

// fixed reports whether the number depends only on the number of rows and does not
// grow when there are fewer rows.
func (s span) fixed() bool { return s.exact() || s.rows }

// fact is what is known of a value before the model runs. The zero fact is a scalar.
type fact struct {
	// ranked says that dims are known.
	ranked bool
	dims   []span
	// count bounds the product of the dimensions, where each counts as at least 1.
	// It is +Inf if there is no bound.
	count float64
	// full says that no dimension can be 0.
	full bool
	// data says that the contents depend on the rows and not only on their number.
	data bool
	// loose says that a call may need larger sizes than a call with the largest
	// number of rows, so that a proof has not measured them.
	loose bool
	// text says that the elements may be strings of the model.
	text bool
	// spans are the contents if they are known and few.
	spans []span
}

// mostSpans is the largest number of elements whose contents are tracked.
const mostSpans = 64

// unknown returns a value of which nothing is known.
func unknown() *fact { return &fact{count: math.Inf(1), data: true, loose: true} }

// shaped returns a value with these dimensions.
func shaped(dims ...span) *fact {
	f := &fact{ranked: true, dims: dims, count: 1, full: true}
	for _, d := range dims {
		f.count *= max(d.hi, 1)
		f.full = f.full && d.lo >= 1
	}
	return f
}

// counted returns a value of unknown rank.
func counted(count float64) *fact { return &fact{count: count} }

// with returns a copy of f with the given contents.
func (f *fact) with(spans []span) *fact {
	out := *f
	out.spans = nil
	if len(spans) <= mostSpans {
		out.spans = spans
	}
	return &out
}

// like returns a value of f's size and unknown contents.
func (f *fact) like() *fact {
	return &fact{ranked: f.ranked, dims: f.dims, count: f.count, full: f.full}
}

// dim returns dimension i, counted from the end if i is negative.
func (f *fact) dim(i int64) (span, bool) {
	if i < 0 {
		i += int64(len(f.dims))
	}
	if !f.ranked || i < 0 || i >= int64(len(f.dims)) {
		return span{}, false
	}
	return f.dims[i], true
}

// fixed reports whether the contents are known well enough to compute sizes.
func (f *fact) fixed() bool {
	for _, s := range f.spans {
		if !s.fixed() {
			return false
		}
	}
	return f.spans != nil
}

// constant returns the fact of a tensor of the file.
func constant(t *tensor) *fact {
	f := shaped()
	for _, d := range t.dims {
		f.dims = append(f.dims, exactly(float64(d)))
		f.count *= max(float64(d), 1)
		f.full = f.full && d > 0
	}
	f.text = t.elem == String
	if t.count > mostSpans {
		return f
	}
	return f.with(t.numbers())
}

// numbers returns a tensor's contents if sizes can be computed from them.
func (t *tensor) numbers() []span {
	if t.elem == String {
		return nil
	}
	out := make([]span, 0, t.count)
	for b := t.raw; len(b) > 0; b = b[min(len(b), int(elemSize(t.elem))):] {
		var v float64
		switch t.elem {
		case Int64:
			v = float64(int64(binary.LittleEndian.Uint64(b)))
		case Int32:
			v = float64(int32(binary.LittleEndian.Uint32(b)))
		case Float:
			v = float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
		case Double:
			v = math.Float64frombits(binary.LittleEndian.Uint64(b))
		default:
			return nil
		}
		if math.IsNaN(v) {
			return nil
		}
		out = append(out, exactly(v))
	}
	return out
}

// input returns the fact of an input of the model.
func (c *checker) input(v *value) *fact {
	f := &fact{count: math.Inf(1), data: true}
	if v.typ == nil || v.typ.kind != tensorKind || !v.typ.hasShape {
		return f
	}
	var dims []span
	for i, d := range v.typ.dims {
		switch {
		case d.size >= 0:
			dims = append(dims, exactly(float64(d.size)))
		case i == 0:
			dims = append(dims, span{lo: 1, hi: float64(c.limits.Rows), rows: true})
		case c.limits.Columns > 0:
			dims = append(dims, exactly(float64(c.limits.Columns)))
		default:
			dims = append(dims, span{lo: 1, hi: DefaultColumns})
		}
	}
	f = shaped(dims...)
	f.data = true
	return f
}

// join returns what holds for both a and b.
func join(a, b *fact) *fact {
	out := &fact{count: max(a.count, b.count), full: a.full && b.full, data: a.data || b.data, loose: a.loose || b.loose, text: a.text || b.text}
	if !a.ranked || !b.ranked || len(a.dims) != len(b.dims) {
		out.loose = true
		return out
	}
	out.ranked = true
	for i, d := range a.dims {
		if d != b.dims[i] {
			out.loose = true
			d = span{lo: min(d.lo, b.dims[i].lo), hi: max(d.hi, b.dims[i].hi)}
		}
		out.dims = append(out.dims, d)
	}
	return out
}

// within reports whether f is never larger than other may be.
func (f *fact) within(other *fact) bool {
	if f.count > other.count || (f.loose && !other.loose) || (f.text && !other.text) {
		return false
	}
	if !other.ranked {
		return f.full || !other.full
	}
	if !f.ranked || len(f.dims) != len(other.dims) {
		return false
	}
	for i, d := range f.dims {
		if o := other.dims[i]; d.lo < o.lo || d.hi > o.hi || (o.rows && !d.rows) {
			return false
		}
	}
	return true
}

// broadcast returns the size of values that are broadcast together.
func broadcast(in []*fact) *fact {
	rank := 0
	for _, f := range in {
		if f == nil {
			continue
		}
		if !f.ranked {
			return broadcastUnranked(in)
		}
		rank = max(rank, len(f.dims))
	}
	dims := make([]span, rank)
	for i := range dims {
		dims[i] = exactly(1)
	}
	for _, f := range in {
		if f == nil {
			continue
		}
		for i, d := range f.dims {
			at := &dims[rank-len(f.dims)+i]
			*at = stretch(*at, d)
		}
	}
	return shaped(dims...)
}

// stretch returns the dimension that results from broadcasting two.
func stretch(a, b span) span {
	switch {
	case a.lo == 1 && a.hi == 1:
		return b
	case b.lo == 1 && b.hi == 1, a == b:
		return a
	}
	out := span{lo: min(a.lo, b.lo), hi: max(a.hi, b.hi)}
	out.rows = (a.rows && b.hi <= 1) || (b.rows && a.hi <= 1)
	return out
}

func broadcastUnranked(in []*fact) *fact {
	out := &fact{count: 1, full: true}
	for _, f := range in {
		if f != nil {
			out.count *= f.count
			out.full = out.full && f.full
		}
	}
	return out
}
