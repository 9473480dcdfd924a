package jsonscan

import (
	"encoding/binary"
	"math"
	"math/bits"
)

const each = 0x0101010101010101 // 1 in each byte

// apart returns x with the value of each digit in place of its byte, and a word in which
// the highest bit of each other byte is set.
func apart(x uint64) (values, others uint64) {
	values = x ^ each*'0'
	return values, ((values & (each * 0x7f)) + each*(0x80-10) | values) & (each * 0x80)
}

// digits returns how many of the 8 bytes of x, from the lowest on, are digits before
// the first that is none, and their number, if there are any. It has no branch, since the
// lengths of numbers are hard to predict.
func digits(x uint64) (n int, value uint64) {
	values, others := apart(x)
	n = bits.TrailingZeros64(others) >> 3
	return n, numberOf(values, n)
}

// numberOf returns the number whose n digits are the lowest bytes of x, for n from 1 to 8.
func numberOf(x uint64, n int) uint64 {
	x <<= uint(-8*n) & 63 // the digits move to the upper bytes, behind zeros
	x = (x * (10<<8 + 1)) >> 8 & 0x00ff00ff00ff00ff
	x = (x * (100<<16 + 1)) >> 16 & 0x0000ffff0000ffff
	return (x * (10000<<32 + 1)) >> 32
}

var pow10int = [...]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8}

// DecimalAt reads the number that begins at data[at], if it has at most 8 digits before
// the point, at most 8 behind it, 15 in all, and no exponent: most numbers are so. It
// looks at 18 bytes, which must be there. The value is correctly rounded. DecimalAt
// returns the position behind the number, or 0 for anything else.
func DecimalAt(data []byte, at int) (value float64, end int) {
	i := at
	negative := i < len(data) && data[i] == '-'
	if negative {
		i++
	}
	if len(data)-i < 8+1+8+1 {
		return 0, 0
	}
	x := binary.LittleEndian.Uint64(data[i:])
	value, length := short(x, data[i+8])
	if length == 0 {
		if value, length = long(data[i:], x); length == 0 {
			return 0, 0
		}
	}
	if negative {
		value = -value
	}
	return value, i + length
}

// short reads a number with a point that has at most 8 bytes: those of x, from the lowest
// on. next is the byte behind them. It returns a length of 0 for anything else.
func short(x uint64, next byte) (value float64, length int) {
	values, others := apart(x)
	n := bits.TrailingZeros64(others) >> 3 // digits before the point
	length = bits.TrailingZeros64(others&(others-1)) >> 3
	shift := 8 * uint(n) & 63
	behind := next
	if length < 8 {
		behind = byte(x >> (8 * uint(length) & 63))
	}
	if byte(x>>shift) != '.' || (behind != ',' && (behind-'0' <= 9 || behind|0x20 == 'e' || behind == '.')) {
		return 0, 0
	}
	fraction := length - n - 1
	zero := (values&0xff - 1) >> 63 // 1 if the first digit is 0, which JSON allows only alone
	if n == 0 || fraction <= 0 || -zero&uint64(n)>>1 != 0 {
		return 0, 0
	}
	whole := uint64(1)<<shift - 1
	m := numberOf(values&whole|values>>8&^whole, length-1) // without the point
	return float64(m) / pow10[fraction&7], length
}

// long reads a number as DecimalAt does. data begins with the bytes of x.
func long(data []byte, x uint64) (value float64, length int) {
	n, m := digits(x)
	if n == 0 || (n > 1 && data[0] == '0') {
		return 0, 0
	}
	i, c := n, data[n]
	value = float64(m)
	if c == '.' {
		f, fraction := digits(binary.LittleEndian.Uint64(data[i+1:]))
		if f == 0 || n+f > 15 {
			return 0, 0
		}
		i += 1 + f
		c = data[i]
		// Both numbers are exact, so that one division rounds once (Clinger 1990).
		value = float64(m*pow10int[f]+fraction) / pow10[f]
	}
	if c-'0' <= 9 || c|0x20 == 'e' || c == '.' {
		return 0, 0
	}
	return value, i
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
