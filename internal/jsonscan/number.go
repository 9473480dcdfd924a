package jsonscan

import (
	"math"
	"strconv"
	"unsafe"
)

// Number is a JSON number that has been read but not rounded. Its value is ±Mantissa
// x 10^Exponent, unless Long.
type Number struct {
	Mantissa uint64
	Exponent int
	Negative bool
	Long     bool // more digits than Mantissa holds: only Text is exact
	Text     []byte
}

const (
	maxMantissaDigits = 19
	maxExponent       = math.MaxInt / 1000 // no text is long enough to offset larger ones
)

// Number reads a number, which must be next.
func (s *Scanner) Number() (Number, error) { //nolint:funlen // each number of a request goes through it, and its loops share their state
	s.Peek()
	data, i := s.Data, s.Pos
	start := i
	var n Number
	if i < len(data) && data[i] == '-' {
		n.Negative = true
		i++
	}
	first := i
	var m uint64
	for i < len(data) {
		c := data[i] - '0'
		if c > 9 {
			break
		}
		m = m*10 + uint64(c)
		i++
	}
	digits := i - first
	if digits == 0 || (digits > 1 && data[first] == '0') {
		if digits > 1 {
			s.Pos = first + 1
			return n, s.Errorf("a number must not begin with 0")
		}
		s.Pos = i
		if n.Negative {
			return n, s.Unexpected("a digit")
		}
		return n, s.Unexpected("a value")
	}
	if i < len(data) && data[i] == '.' {
		i++
		from := i
		for i < len(data) {
			c := data[i] - '0'
			if c > 9 {
				break
			}
			m = m*10 + uint64(c)
			i++
		}
		if i == from {
			s.Pos = i
			return n, s.Unexpected("a digit")
		}
		n.Exponent = from - i
		digits += i - from
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		i++
		negative := false
		if i < len(data) && (data[i] == '+' || data[i] == '-') {
			negative = data[i] == '-'
			i++
		}
		from, e := i, 0
		for ; i < len(data) && data[i]-'0' <= 9; i++ {
			if e < maxExponent {
				e = e*10 + int(data[i]-'0')
			}
		}
		if i == from {
			s.Pos = i
			return n, s.Unexpected("a digit")
		}
		if negative {
			e = -e
		}
		n.Exponent += e
	}
	n.Mantissa, n.Text, n.Long = m, data[start:i], digits > maxMantissaDigits
	s.Pos = i
	return n, nil
}

var pow10 = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// exact returns the correctly rounded float64 if one multiplication or division of
// two exact numbers gives it (Clinger 1990).
func (n *Number) exact() (float64, bool) {
	if n.Mantissa>>53 != 0 || n.Long || n.Exponent > 22 || n.Exponent < -22 {
		return 0, false
	}
	f := float64(n.Mantissa)
	if n.Exponent < 0 {
		f /= pow10[-n.Exponent]
	} else {
		f *= pow10[n.Exponent]
	}
	if n.Negative {
		f = -f
	}
	return f, true
}

// Float64 rounds to nearest even. It returns false if the number overflows.
func (n *Number) Float64() (float64, bool) {
	if f, ok := n.exact(); ok {
		return f, true
	}
	return n.parse(64)
}

// Float32 rounds the decimal itself, not its float64, to nearest even. It returns
// false if the number overflows.
func (n *Number) Float32() (float32, bool) {
	if d, ok := n.exact(); ok {
		if f, ok := Single(d); ok {
			return f, true
		}
	}
	f, ok := n.parse(32)
	return float32(f), ok
}

// Package strconv keeps 800 digits and cuts exponents at about 10,000, before it
// considers the place of the point.
const (
	maxParsedText   = 700
	maxParsedDigits = 780 // a float64, or the midpoint of two, has at most 767
	maxParsedExp    = 5000
)

// parse rounds the text itself. It returns false if the number overflows.
func (n *Number) parse(bits int) (float64, bool) {
	if len(n.Text) <= maxParsedText {
		f, err := strconv.ParseFloat(text(n.Text), bits)
		return f, err == nil
	}
	var space [maxParsedDigits + 32]byte
	short, exponent := space[:0], n.Exponent
	if n.Negative {
		short = append(short, '-')
	}
	short, dropped := n.significant(short)
	short = strconv.AppendInt(append(short, 'e'), int64(min(max(exponent+dropped, -maxParsedExp), maxParsedExp)), 10)
	f, err := strconv.ParseFloat(text(short), bits)
	return f, err == nil
}

// significant appends the first digits of n from the first nonzero digit on, and
// returns how many more there are. If any of those is not 0, the last appended digit
// is not 0.
func (n *Number) significant(to []byte) (_ []byte, dropped int) {
	kept := 0
	for i := 0; i < len(n.Text) && n.Text[i]|0x20 != 'e'; i++ {
		switch c := n.Text[i]; {
		case c < '0' || (kept == 0 && c == '0'): // a sign, the point or a leading zero
		case kept < maxParsedDigits:
			to = append(to, c)
			kept++
		default:
			dropped++
			if c != '0' && to[len(to)-1] == '0' {
				to[len(to)-1] = '1'
			}
		}
	}
	if kept == 0 {
		to = append(to, '0')
	}
	return to, dropped
}

// Int64 returns the number if it is whole and fits. 1.0 and 1e3 are whole.
func (n *Number) Int64() (int64, bool) {
	m, e := n.Mantissa, n.Exponent
	if n.Long {
		return n.longInt64()
	}
	for ; e < 0 && m%10 == 0 && m != 0; e++ {
		m /= 10
	}
	for ; e > 0 && m != 0; e-- {
		if m > math.MaxInt64/10 {
			return 0, false
		}
		m *= 10
	}
	switch {
	case m == 0:
		return 0, true
	case e < 0:
		return 0, false
	case n.Negative && m <= 1<<63:
		return -int64(m), true
	case !n.Negative && m < 1<<63:
		return int64(m), true
	}
	return 0, false
}

// longInt64 handles numbers with more than 19 digits, such as
// 1.00000000000000000000.
func (n *Number) longInt64() (int64, bool) {
	digits := make([]byte, 0, len(n.Text))
	for i := 0; i < len(n.Text) && n.Text[i]|0x20 != 'e'; i++ {
		if c := n.Text[i]; c >= '0' {
			digits = append(digits, c)
		}
	}
	e := n.Exponent
	for len(digits) > 0 && digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
		e++
	}
	for len(digits) > 0 && digits[0] == '0' {
		digits = digits[1:]
	}
	if len(digits) > maxMantissaDigits {
		return 0, false
	}
	short := Number{Negative: n.Negative, Exponent: e}
	for _, c := range digits {
		short.Mantissa = short.Mantissa*10 + uint64(c-'0')
	}
	return short.Int64()
}

// text views b as a string for the duration of one call.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
