package sdk

import "fmt"

// Batch is a set of rows.
//
// A batch is dense if all its features share one numeric dtype. It then holds
// one row-major matrix of rows x features, which Float32s, Float64s or Int64s
// returns. Otherwise each feature is a typed Column. The host owns batches and
// reuses them: a Scorer must not keep a batch or its slices after Score
// returns.
type Batch struct {
	features []Feature
	dense    DType // 0: columns
	rows     int
	f32      []float32
	f64      []float64
	i64      []int64
	cols     []Column
}

// Column holds one feature of a Batch that is not dense. Only the slice of type
// DType is set; it has one element per row.
type Column struct {
	DType    DType
	Float32s []float32
	Float64s []float64
	Int64s   []int64
	Strings  []string
	Bools    []bool
}

// NewBatch returns an empty batch for rows of the given features. It keeps the
// slice.
func NewBatch(features []Feature) *Batch {
	b := &Batch{features: features, dense: denseType(features)}
	if b.dense == 0 {
		b.cols = make([]Column, len(features))
		for j, f := range features {
			b.cols[j].DType = f.DType
		}
	}
	return b
}

func denseType(features []Feature) DType {
	if len(features) == 0 || !features[0].DType.Numeric() {
		return 0
	}
	for _, f := range features[1:] {
		if f.DType != features[0].DType {
			return 0
		}
	}
	return features[0].DType
}

// Rows returns the number of rows.
func (b *Batch) Rows() int { return b.rows }

// Features returns the features in column order. The caller must not modify
// them.
func (b *Batch) Features() []Feature { return b.features }

// Dense returns the dtype of the matrix, or 0 if the batch is not dense.
func (b *Batch) Dense() DType { return b.dense }

// Float32s returns the row-major matrix of a dense float32 batch, or nil.
func (b *Batch) Float32s() []float32 { return b.f32 }

// Float64s returns the row-major matrix of a dense float64 batch, or nil.
func (b *Batch) Float64s() []float64 { return b.f64 }

// Int64s returns the row-major matrix of a dense int64 batch, or nil.
func (b *Batch) Int64s() []int64 { return b.i64 }

// Column returns feature j of a batch that is not dense.
func (b *Batch) Column(j int) *Column { return &b.cols[j] }

// Resize sets the number of rows. Existing rows keep their values; the contents
// of new rows are undefined. Resize never releases memory.
func (b *Batch) Resize(rows int) {
	n := rows * len(b.features)
	switch b.dense {
	case Float32:
		b.f32 = resize(b.f32, n)
	case Float64:
		b.f64 = resize(b.f64, n)
	case Int64:
		b.i64 = resize(b.i64, n)
	default:
		for j := range b.cols {
			c := &b.cols[j]
			switch c.DType {
			case Float32:
				c.Float32s = resize(c.Float32s, rows)
			case Float64:
				c.Float64s = resize(c.Float64s, rows)
			case Int64:
				c.Int64s = resize(c.Int64s, rows)
			case String:
				c.Strings = resize(c.Strings, rows)
			case Bool:
				c.Bools = resize(c.Bools, rows)
			}
		}
	}
	b.rows = rows
}

func resize[T any](s []T, n int) []T {
	if n <= cap(s) {
		return s[:n]
	}
	grown := make([]T, n, max(n, 2*cap(s)))
	copy(grown, s)
	return grown
}

// Slice returns rows from up to, but not including, to. The result shares
// memory with b.
func (b *Batch) Slice(from, to int) *Batch {
	s := *b
	s.rows = to - from
	d := len(b.features)
	switch b.dense {
	case Float32:
		s.f32 = b.f32[from*d : to*d : to*d]
	case Float64:
		s.f64 = b.f64[from*d : to*d : to*d]
	case Int64:
		s.i64 = b.i64[from*d : to*d : to*d]
	default:
		s.cols = make([]Column, len(b.cols))
		for j, c := range b.cols {
			switch c.DType {
			case Float32:
				c.Float32s = c.Float32s[from:to:to]
			case Float64:
				c.Float64s = c.Float64s[from:to:to]
			case Int64:
				c.Int64s = c.Int64s[from:to:to]
			case String:
				c.Strings = c.Strings[from:to:to]
			case Bool:
				c.Bools = c.Bools[from:to:to]
			}
			s.cols[j] = c
		}
	}
	return &s
}

// CopyRow copies row i of src over row at of b. Both must have the same
// features.
func (b *Batch) CopyRow(at int, src *Batch, i int) {
	d := len(b.features)
	switch b.dense {
	case Float32:
		copy(b.f32[at*d:(at+1)*d], src.f32[i*d:(i+1)*d])
	case Float64:
		copy(b.f64[at*d:(at+1)*d], src.f64[i*d:(i+1)*d])
	case Int64:
		copy(b.i64[at*d:(at+1)*d], src.i64[i*d:(i+1)*d])
	default:
		for j := range b.cols {
			b.CopyCell(at, src, i, j)
		}
	}
}

// CopyCell copies feature j of row i of src over the same feature of row at of
// b. Both must have the same features.
func (b *Batch) CopyCell(at int, src *Batch, i, j int) {
	d := len(b.features)
	switch b.dense {
	case Float32:
		b.f32[at*d+j] = src.f32[i*d+j]
	case Float64:
		b.f64[at*d+j] = src.f64[i*d+j]
	case Int64:
		b.i64[at*d+j] = src.i64[i*d+j]
	default:
		to, from := &b.cols[j], &src.cols[j]
		switch to.DType {
		case Float32:
			to.Float32s[at] = from.Float32s[i]
		case Float64:
			to.Float64s[at] = from.Float64s[i]
		case Int64:
			to.Int64s[at] = from.Int64s[i]
		case String:
			to.Strings[at] = from.Strings[i]
		case Bool:
			to.Bools[at] = from.Bools[i]
		}
	}
}

// Value returns feature j of row i as float32, float64, int64, string or bool.
func (b *Batch) Value(i, j int) any {
	at := i*len(b.features) + j
	switch b.dense {
	case Float32:
		return b.f32[at]
	case Float64:
		return b.f64[at]
	case Int64:
		return b.i64[at]
	}
	switch c := &b.cols[j]; c.DType {
	case Float32:
		return c.Float32s[i]
	case Float64:
		return c.Float64s[i]
	case Int64:
		return c.Int64s[i]
	case String:
		return c.Strings[i]
	default:
		return c.Bools[i]
	}
}

// SetValue sets feature j of row i. The type of v must be the feature's Go
// type.
func (b *Batch) SetValue(i, j int, v any) error {
	at := i*len(b.features) + j
	ok := false
	switch b.dense {
	case Float32:
		ok = assign(b.f32, at, v)
	case Float64:
		ok = assign(b.f64, at, v)
	case Int64:
		ok = assign(b.i64, at, v)
	default:
		switch c := &b.cols[j]; c.DType {
		case Float32:
			ok = assign(c.Float32s, i, v)
		case Float64:
			ok = assign(c.Float64s, i, v)
		case Int64:
			ok = assign(c.Int64s, i, v)
		case String:
			ok = assign(c.Strings, i, v)
		case Bool:
			ok = assign(c.Bools, i, v)
		}
	}
	if !ok {
		f := b.features[j]
		return fmt.Errorf("feature %q is %s, not %T", f.Name, f.DType, v)
	}
	return nil
}

func assign[T any](s []T, at int, v any) bool {
	t, ok := v.(T)
	if ok {
		s[at] = t
	}
	return ok
}
