package jsonscan

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// digits returns how many of the 8 bytes of x, from the lowest on, are digits before
// the first that is none, and their number. It has no branch, since the lengths of
// numbers are hard to predict.
func digits(x uint64) (n int, value uint64) {
	const each = 0x0101010101010101
	// The highest bit of a byte is set if the byte is above '9' or below '0'.
	other := ((x + each*(0x7f-'9')) | (x - each*'0') | x) & (each * 0x80)
	n = bits.TrailingZeros64(other) >> 3
	// The digits move to the upper bytes, behind zeros.
	x = (x & (each * 0x0f)) << (64 - 8*uint(n))
	x = (x * (10<<8 + 1)) >> 8 & 0x00ff00ff00ff00ff
	x = (x * (100<<16 + 1)) >> 16 & 0x0000ffff0000ffff
	return n, (x * (10000<<32 + 1)) >> 32
}

var pow10int = [...]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8}

// Decimal reads a number that is next, with no white space before it, if it has at most
// 8 digits before the point, at most 8 behind it, 15 in all, and no exponent: most
// numbers are so. It looks at 18 bytes, which must be there. The value is correctly
// rounded. For anything else Decimal returns false and consumes nothing.
func (s *Scanner) Decimal() (float64, bool) {
	data, i := s.Data, s.Pos
	negative := i < len(data) && data[i] == '-'
	if negative {
		i++
	}
	if len(data)-i < 8+1+8+1 {
		return 0, false
	}
	n, m := digits(binary.LittleEndian.Uint64(data[i:]))
	if n == 0 || (n > 1 && data[i] == '0') {
		return 0, false
	}
	i += n
	c := data[i]
	value := float64(m)
	if c == '.' {
		f, fraction := digits(binary.LittleEndian.Uint64(data[i+1:]))
		if f == 0 || n+f > 15 {
			return 0, false
		}
		i += 1 + f
		c = data[i]
		// Both numbers are exact, so that one division rounds once (Clinger 1990).
		value = float64(m*pow10int[f]+fraction) / pow10[f]
	}
	if c-'0' <= 9 || c|0x20 == 'e' || c == '.' {
		return 0, false
	}
	if negative {
		value = -value
	}
	s.Pos = i
	return value, true
}

// Single rounds a float64 that is the correctly rounded value of a number to the
// float32 that is its correctly rounded value. It returns false if it cannot tell.
func Single(v float64) (float32, bool) {
	// Rounding twice differs from rounding once only if the first result lies midway
	// between two float32 values, or outside their normal range.
	const half = 1 << 28
	if math.Float64bits(v)&(1<<29-1) == half || (v != 0 && !(math.Abs(v) > 0x1p-125 && math.Abs(v) < 0x1p127)) {
		return 0, false
	}
	return float32(v), true
}
