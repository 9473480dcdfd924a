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
	data, order := s.Data, d.order
	for k, at := 0, s.Pos; ; k++ { // at is in a register: s.Pos would be the slowest part
		if k > 0 {
			s.Pos = at
			switch c := byteAt(data, at); {
			case c == '}':
				s.Pos++
				return k, true
			case c != ',':
				return k, false
			}
			at++
		}
		if k >= len(order) {
			return k, false
		}
		if byteAt(data, at) == ' ' {
			at++
		}
		j := order[k]
		key := d.schema.members[j]
		if key == nil || d.stamp[j] == d.turn || !bytes.HasPrefix(data[at:], key) {
			return k, false
		}
		at += len(key)
		if byteAt(data, at) == ' ' {
			at++
		}
		if at = plain(data, at, singles, doubles, j); at == 0 {
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
	data := s.Data
	for k, at := 0, s.Pos; k < len(d.order); k++ {
		if k > 0 {
			if byteAt(data, at) != ',' {
				return k
			}
			at++
		}
		if byteAt(data, at) == ' ' {
			at++
		}
		if at = plain(data, at, singles, doubles, k); at == 0 {
			return k
		}
		s.Pos = at
		d.stamp[k] = d.turn
	}
	return len(d.order)
}

// plain reads the number at data[at] into a row, and returns the position behind it. It
// returns 0 for what jsonscan.DecimalAt does not read.
func plain(data []byte, at int, singles []float32, doubles []float64, j int) int {
	v, end := jsonscan.DecimalAt(data, at)
	if end == 0 {
		return 0
	}
	if singles == nil {
		doubles[j] = v
		return end
	}
	var ok bool
	if singles[j], ok = jsonscan.Single(v); !ok {
		return 0
	}
	return end
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
	end := plain(space[:], 0, singles, doubles, j)
	return end > 0 && end == len(text)
}

// byteAt returns a byte of the text, or 0 behind its end.
func byteAt(data []byte, at int) byte {
	if at < len(data) {
		return data[at]
	}
	return 0
}
