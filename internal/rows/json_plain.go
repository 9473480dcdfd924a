package rows

import (
	"bytes"

	"github.com/pynomaly/pynomaly-runtime/internal/jsonscan"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Most rows are numbers of one type, in the order of the row before, with at most a
// space between. members and elements read them; object and array continue wherever
// something else comes, and say what is wrong.

// target returns the row that is being read, if all features are float32 or all are
// float64. The other slice is nil.
func (d *Decoder) target() (singles []float32, doubles []float64) {
	n := len(d.schema.features)
	from := (d.batch.Rows() - 1) * n
	switch d.batch.Dense() {
	case sdk.Float32:
		return d.batch.Float32s()[from : from+n], nil
	case sdk.Float64:
		return nil, d.batch.Float64s()[from : from+n]
	}
	return nil, nil
}

// members reads members of an object as long as they are such numbers. It stops before
// the comma of the first that is not, or before that member if it is the first. closed says
// that it has read the end of the object.
func (d *Decoder) members(s *jsonscan.Scanner) (given int, closed bool) {
	singles, doubles := d.target()
	if singles == nil && doubles == nil {
		return 0, false
	}
	data := s.Data
	for k := 0; ; k++ {
		before := s.Pos
		if k > 0 {
			switch c := byteAt(data, before); {
			case c == '}':
				s.Pos++
				return k, true
			case c != ',' || k == len(d.order):
				return k, false
			}
			s.Pos++
		} else if len(d.order) == 0 {
			return 0, false
		}
		if byteAt(data, s.Pos) == ' ' {
			s.Pos++
		}
		j := d.order[k]
		key := d.schema.members[j]
		if key == nil || d.stamp[j] == d.turn || !bytes.HasPrefix(data[s.Pos:], key) {
			s.Pos = before
			return k, false
		}
		s.Pos += len(key)
		if byteAt(data, s.Pos) == ' ' {
			s.Pos++
		}
		if !plain(s, singles, doubles, j) {
			s.Pos = before
			return k, false
		}
		d.stamp[j] = d.turn
	}
}

// elements reads elements of an array, as members does, and stops before a comma, the end
// of the array, or the first element.
func (d *Decoder) elements(s *jsonscan.Scanner) (given int) {
	singles, doubles := d.target()
	if singles == nil && doubles == nil {
		return 0
	}
	for k := range d.order {
		before := s.Pos
		if k > 0 {
			if byteAt(s.Data, before) != ',' {
				return k
			}
			s.Pos++
		}
		if byteAt(s.Data, s.Pos) == ' ' {
			s.Pos++
		}
		if !plain(s, singles, doubles, k) {
			s.Pos = before
			return k
		}
		d.stamp[k] = d.turn
	}
	return len(d.order)
}

// plain reads a number into a row. It returns false, and may have consumed nothing,
// for what jsonscan.Scanner.Decimal does not read.
func plain(s *jsonscan.Scanner, singles []float32, doubles []float64, j int) bool {
	v, ok := s.Decimal()
	if !ok {
		return false
	}
	if singles == nil {
		doubles[j] = v
		return true
	}
	singles[j], ok = jsonscan.Single(v)
	return ok
}

// plainText sets feature j to a short number of a table of texts, if all features are
// float32 or all are float64. It returns false for any other text.
func (d *Decoder) plainText(j int, text string) bool {
	const most, looked = 17, 18
	if len(text) > most {
		return false
	}
	singles, doubles := d.target()
	if singles == nil && doubles == nil {
		return false
	}
	var space [most + looked]byte // zeros end the number
	copy(space[:], text)
	s := jsonscan.Scanner{Data: space[:]}
	return plain(&s, singles, doubles, j) && s.Pos == len(text)
}

// byteAt returns a byte of the text, or 0 behind its end.
func byteAt(data []byte, at int) byte {
	if at < len(data) {
		return data[at]
	}
	return 0
}
