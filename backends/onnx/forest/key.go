package forest

import "math"

// A key is an integer that sorts like a number. Both zeros have the key 0, and
// no number has the key -1, so that "below zero" is "at most -1".

// The keys of NaN in the two copies of a row's columns. Nodes read the copy
// that sends NaN the right way.
const (
	high32, low32 = math.MaxInt32, math.MinInt32
	high64, low64 = math.MaxInt64, math.MinInt64
)

func key32(v float32) int32 {
	b := int32(math.Float32bits(v + 0)) // -0 + 0 is +0
	return b ^ int32(uint32(b>>31)>>1)
}

func key64(v float64) int64 {
	b := int64(math.Float64bits(v + 0))
	return b ^ int64(uint64(b>>63)>>1)
}

// Block holds the keys of up to BlockRows rows. A Block belongs to the forest
// that made it, and to one goroutine at a time.
type Block struct {
	columns, width int // of a row: as given, and with the second copy
	k32            []int32
	k64            []int64
	v32            []float32 // values of trees
	v64            []float64
	few            int     // up to so many rows are walked
	columnwise     []int32 // keys of BlockRows rows, column after column, for trees by their bits; or nil
	turned         bool    // the rows that were set are in columnwise
}

// NewBlock returns a block for rows of f.
func (f *Forest) NewBlock() *Block {
	b := &Block{columns: f.columns, width: f.width()}
	values := max(BlockRows, f.trees)
	if f.Double() {
		b.k64, b.v64 = make([]int64, BlockRows*b.width), make([]float64, values+BlockRows)
	} else {
		b.k32, b.v32 = make([]int32, BlockRows*b.width), make([]float32, values+BlockRows)
	}
	if f.bits != nil {
		b.few, b.columnwise = f.bits.few, make([]int32, BlockRows*b.width)
	}
	return b
}

func (f *Forest) width() int {
	if f.low {
		return 2 * f.columns
	}
	return f.columns
}

// SetColumn sets a column of the first len(values) rows. Values of a forest of
// float32 must be exact in float32.
func (b *Block) SetColumn(column int, values []float64) {
	if b.turned = b.columnwise != nil && len(values) > b.few; b.turned {
		b.turnColumn(column, values)
		return
	}
	at, copies := column, b.width > b.columns
	for _, v := range values {
		switch {
		case b.k64 != nil:
			low := int64(low64)
			b.k64[at] = high64
			if v == v {
				low = key64(v)
				b.k64[at] = low
			}
			if copies {
				b.k64[at+b.columns] = low
			}
		default:
			low := int32(low32)
			b.k32[at] = high32
			if v == v {
				low = key32(float32(v))
				b.k32[at] = low
			}
			if copies {
				b.k32[at+b.columns] = low
			}
		}
		at += b.width
	}
}

// SetRows sets whole rows of a forest of float32, whose columns are the first
// ones of rows of the given stride.
func (b *Block) SetRows(x []float32, stride, rows int) {
	if b.turned = b.columnwise != nil && rows > b.few; b.turned {
		b.turnRows(x, stride, rows)
		return
	}
	for r := range rows {
		from, to := x[r*stride:r*stride+b.columns], b.k32[r*b.width:(r+1)*b.width]
		for j, v := range from {
			k := int32(high32)
			if v == v {
				k = key32(v)
			}
			to[j] = k
		}
		if low := to[b.columns:]; len(low) == len(from) {
			for j, v := range from {
				k := int32(low32)
				if v == v {
					k = to[j]
				}
				low[j] = k
			}
		}
	}
}

// keysOf returns the keys of a number in the two copies.
func keysOf(v float32) (high, low int32) {
	if v == v {
		k := key32(v)
		return k, k
	}
	return high32, low32
}

// turnColumn is SetColumn for trees by their bits.
func (b *Block) turnColumn(column int, values []float64) {
	high := b.columnwise[column*BlockRows:][:len(values)]
	low := high
	if b.width > b.columns {
		low = b.columnwise[(column+b.columns)*BlockRows:][:len(values)]
	}
	for r, v := range values {
		h, l := keysOf(float32(v))
		low[r] = l
		high[r] = h
	}
}

// turnRows is SetRows for trees by their bits.
func (b *Block) turnRows(x []float32, stride, rows int) {
	copies := b.width > b.columns
	for r := range rows {
		from := x[r*stride : r*stride+b.columns]
		to := b.columnwise[r:]
		for j, v := range from {
			h, l := keysOf(v)
			to[j*BlockRows] = h
			if copies {
				to[(j+len(from))*BlockRows] = l
			}
		}
	}
}
