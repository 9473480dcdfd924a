package graph

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

var tensorMany = many(1, 4, 5, 6, 7, 10, 11, 13, 16)

// typedField returns the field that holds a tensor's values if raw_data does not.
func typedField(e ElemType) protowire.Number {
	switch e {
	case Float, 14:
		return 4
	case Double, 15:
		return 10
	case String:
		return 6
	case Int64:
		return 7
	case 12, 13:
		return 11
	case 2, 3, 4, 5, Int32, Bool, 10, 16, 17, 18, 19, 20, 21, 22:
		return 5
	}
	return 0
}

// inOneFile says where a file without its values comes from, and what to do.
const inOneFile = "exporters write large models (name.onnx with name.onnx.data): " +
	"write one file, by torch.onnx.export(..., external_data=False), or by onnx.save(onnx.load(\"name.onnx\"), \"one.onnx\") in Python"

func (p *parser) tensor(m *message) (*tensor, error) {
	t := &tensor{}
	m.spend(p, bytesOfTensor)
	var held []byte  // the values of fields of fixed size
	var ints []int64 // the values of integer fields
	for m.next() {
		switch m.number {
		case 1:
			m.varints(p, &t.dims)
		case 2:
			t.elem = ElemType(m.varint())
		case 4:
			m.fixed(p, 4, &held)
		case 5, 7, 11:
			m.varints(p, &ints)
		case 6:
			m.texts(p, &t.texts)
		case 8:
			t.name = m.text()
		case 9:
			held = m.bytes()
		case 10:
			m.fixed(p, 8, &held)
		case 12:
			m.skip(bytesType)
		case 13:
			m.fail(problem(ExternalData, "%s keeps its values in another file, as %s", t.describe(), inOneFile))
		case 14:
			if m.varint() != 0 {
				m.fail(problem(ExternalData, "%s keeps its values outside the file, as %s", t.describe(), inOneFile))
			}
		case 16:
			p.pair(m)
		case 3:
			m.fail(problem(Malformed, "%s is split into segments: save the model with whole tensors", t.describe()))
		default:
			m.unknown()
		}
	}
	if m.err == nil {
		m.err = t.measure()
	}
	if m.err != nil {
		return nil, m.err
	}
	if err := t.take(m, held, ints); err != nil {
		return nil, err
	}
	if len(ints) > 0 {
		m.spend(p, int64(len(t.raw)))
	} else {
		m.count(p, int64(len(t.raw)))
	}
	return t, m.err
}

// measure sets count and refuses sizes that no served model needs.
func (t *tensor) measure() error {
	if len(t.dims) > MaxRank {
		return problem(TooLarge, "%s has %d dimensions; at most %d are read", t.describe(), len(t.dims), MaxRank)
	}
	count, over := product(t.dims)
	if over || count > MaxElements {
		bytes := float64(elemSize(t.elem))
		for _, d := range t.dims {
			bytes *= math.Abs(float64(d))
		}
		return problem(TooLarge, "%s claims %s of %s (%.0f GB): larger than any model that is supported", t.describe(), dims(t.dims), t.elem, bytes/1e9)
	}
	t.count = count
	return nil
}

// take sets a tensor's values from the one field that may hold them.
func (t *tensor) take(m *message, held []byte, ints []int64) error {
	field := typedField(t.elem)
	if field == 0 {
		return problem(Malformed, "%s is of %s, which is not supported", t.describe(), t.elem)
	}
	for _, other := range []protowire.Number{4, 5, 6, 7, 9, 10, 11} {
		raw := other == 9 && t.elem != String && !m.has(field)
		if m.has(other) && other != field && !raw {
			return problem(Malformed, "%s of %s must not have values in field %d", t.describe(), t.elem, other)
		}
	}
	if t.elem == String {
		if int64(len(t.texts)) != t.count {
			return problem(Malformed, "%s claims %s strings but holds %d", t.describe(), dims(t.dims), len(t.texts))
		}
		return nil
	}
	want := t.count * elemSize(t.elem)
	if t.elem == 21 || t.elem == 22 {
		want = (t.count + 1) / 2 // two per byte
	}
	if len(ints) > 0 {
		var err error
		if held, err = t.narrow(ints, want); err != nil {
			return err
		}
	}
	if int64(len(held)) != want {
		return problem(Malformed, "%s claims %s of %s (%d bytes) but holds %d bytes", t.describe(), dims(t.dims), t.elem, want, len(held))
	}
	if len(held) > 0 {
		t.raw = held
	}
	return nil
}

// narrow writes integers with the size of the tensor's type.
func (t *tensor) narrow(ints []int64, bytes int64) ([]byte, error) {
	size := max(elemSize(t.elem), 1)
	if int64(len(ints))*size != bytes {
		return nil, problem(Malformed, "%s claims %s of %s (%d bytes) but holds %d bytes", t.describe(), dims(t.dims), t.elem, bytes, int64(len(ints))*size)
	}
	out := make([]byte, 0, bytes)
	for _, v := range ints {
		low, high := int64(0), int64(1)<<(8*size)-1
		switch t.elem {
		case 3, 5, Int32:
			low, high = -(high+1)/2, high/2
		case Int64, 13:
			low, high = math.MinInt64, math.MaxInt64
		case Bool:
			high = 1
		case 22:
			low = -128
		}
		if v < low || v > high {
			return nil, problem(Malformed, "%s of %s holds %d", t.describe(), t.elem, v)
		}
		switch size {
		case 1:
			out = append(out, byte(v))
		case 2:
			out = binary.LittleEndian.AppendUint16(out, uint16(v))
		case 4:
			out = binary.LittleEndian.AppendUint32(out, uint32(v))
		default:
			out = binary.LittleEndian.AppendUint64(out, uint64(v))
		}
	}
	return out, nil
}

// product multiplies dimensions. over says that one is negative or that the product
// overflows.
func product(dims []int64) (count int64, over bool) {
	count = 1
	for _, d := range dims {
		if d < 0 || (d > 0 && count > math.MaxInt64/d) {
			return 0, true
		}
		count *= d
	}
	return count, false
}

func (t *tensor) describe() string {
	if t.name == "" {
		return "a tensor"
	}
	return fmt.Sprintf("tensor %.80q", t.name)
}

func dims(d []int64) string {
	if len(d) == 0 {
		return "one value"
	}
	parts := make([]string, len(d))
	for i, v := range d {
		parts[i] = fmt.Sprint(v)
	}
	return strings.Join(parts, " x ")
}
