package graph

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// repeated is a set of field numbers that may occur more than once in a message.
type repeated uint64

func many(numbers ...protowire.Number) repeated {
	var r repeated
	for _, n := range numbers {
		r |= 1 << n
	}
	return r
}

// message reads the fields of a protobuf message. It refuses what two readers could
// understand differently: a singular field that occurs twice, and a field whose wire
// type differs from its definition.
type message struct {
	what   string // for people, such as "a node"
	rest   []byte
	many   repeated
	seen   uint64
	number protowire.Number
	kind   protowire.Type
	data   []byte
	value  uint64
	err    error
}

func (m *message) fail(p *Problem) {
	if m.err == nil {
		m.err = p
	}
}

// next reads a field. It returns false at the message's end and after an error.
func (m *message) next() bool {
	if m.err != nil || len(m.rest) == 0 {
		return false
	}
	number, kind, n := protowire.ConsumeTag(m.rest)
	if n < 0 {
		m.fail(problem(Malformed, "%s is not valid protobuf: the file is damaged or not an ONNX model", m.what))
		return false
	}
	if number > 63 {
		m.number = number
		m.unknown()
		return false
	}
	m.number, m.kind, m.data, m.value = number, kind, nil, 0
	b := m.rest[n:]
	switch kind {
	case protowire.VarintType:
		m.value, n = protowire.ConsumeVarint(b)
	case protowire.Fixed32Type:
		var v uint32
		v, n = protowire.ConsumeFixed32(b)
		m.value = uint64(v)
	case protowire.Fixed64Type:
		m.value, n = protowire.ConsumeFixed64(b)
	case protowire.BytesType:
		m.data, n = protowire.ConsumeBytes(b)
	default:
		n = -1
	}
	if n < 0 {
		m.fail(problem(Malformed, "%s ends in the middle of field %d: the file is cut short or damaged", m.what, number))
		return false
	}
	m.rest = b[n:]
	bit := uint64(1) << number
	if m.seen&bit != 0 && uint64(m.many)&bit == 0 {
		m.fail(problem(Malformed, "%s has field %d twice: readers disagree on what that means", m.what, number))
		return false
	}
	m.seen |= bit
	return true
}

func (m *message) has(n protowire.Number) bool { return m.seen&(1<<n) != 0 }

func (m *message) unknown() {
	m.fail(problem(UnknownField, "%s has field %d, which ONNX does not define: the file is damaged or from a newer ONNX", m.what, m.number))
}

func (m *message) is(kind protowire.Type) {
	if m.kind != kind {
		m.fail(problem(Malformed, "%s has field %d in a form that ONNX does not define: the file is damaged", m.what, m.number))
	}
}

// skip reads a field and drops it.
func (m *message) skip(kind protowire.Type) { m.is(kind) }

func (m *message) varint() int64 {
	m.is(protowire.VarintType)
	return int64(m.value)
}

func (m *message) float() float32 {
	m.is(protowire.Fixed32Type)
	return math.Float32frombits(uint32(m.value))
}

// bytes returns the field's bytes, which share memory with the file.
func (m *message) bytes() []byte {
	m.is(protowire.BytesType)
	return m.data
}

func (m *message) text() string {
	b := m.bytes()
	if !utf8.Valid(b) {
		m.fail(problem(Malformed, "%s has a name that is not UTF-8", m.what))
	}
	return string(b)
}

// message returns a reader of an embedded message. It fails if m has failed.
func (m *message) message(what string, r repeated) *message {
	b := m.bytes()
	return &message{what: what, rest: b, many: r, err: m.err}
}

// Repeated numbers are packed or come one at a time. A message may mix both forms.

// run returns how many values of the current field follow, and their bytes.
// Attributes usually have lists of single values.
func (m *message) run(length func(b []byte) int) (values, size int) {
	if m.number > 15 {
		return 0, 0
	}
	tag := byte(protowire.EncodeTag(m.number, m.kind))
	for size < len(m.rest) && m.rest[size] == tag {
		n := length(m.rest[size+1:])
		if n < 0 {
			break // next reports the error
		}
		values, size = values+1, size+1+n
	}
	return values, size
}

func (m *message) varints(p *parser, to *[]int64) {
	if m.kind == protowire.VarintType {
		*to = append(*to, int64(m.value))
		n, size := m.run(lengthOfVarint)
		if m.spend(p, 8*int64(n+1)); m.err != nil {
			return
		}
		*to = slices.Grow(*to, n)
		for b := m.rest[:size]; len(b) > 0; {
			if b[1] < 0x80 {
				*to = append(*to, int64(b[1]))
				b = b[2:]
				continue
			}
			v, n := protowire.ConsumeVarint(b[1:])
			*to = append(*to, int64(v))
			b = b[1+n:]
		}
		m.rest = m.rest[size:]
		return
	}
	b := m.bytes()
	count := 0
	for _, c := range b {
		if c < 0x80 { // the last byte of a number
			count++
		}
	}
	if m.spend(p, 8*int64(count)); m.err != nil {
		return
	}
	*to = slices.Grow(*to, count)
	for len(b) > 0 {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			m.fail(problem(Malformed, "%s has a list of integers that is cut short", m.what))
			return
		}
		*to = append(*to, int64(v))
		b = b[n:]
	}
}

func lengthOfVarint(b []byte) int {
	if len(b) > 0 && b[0] < 0x80 {
		return 1
	}
	_, n := protowire.ConsumeVarint(b)
	return n
}

// texts appends the strings of a repeated field, which share memory with the file.
func (m *message) texts(p *parser, to *[][]byte) {
	one := m.bytes()
	p.longest = max(p.longest, len(one))
	n, size := m.run(func(b []byte) int { _, n := protowire.ConsumeBytes(b); return n })
	if m.spend(p, bytesOfText*int64(n+1)); m.err != nil {
		return
	}
	*to = append(slices.Grow(*to, n+1), one)
	for b := m.rest[:size]; len(b) > 0; {
		v, n := protowire.ConsumeBytes(b[1:])
		p.longest = max(p.longest, len(v))
		*to = append(*to, v)
		b = b[1+n:]
	}
	m.rest = m.rest[size:]
}

// fixed appends numbers of size bytes to their concatenation. If all are in one
// piece, as in most files, the result shares memory with the file.
func (m *message) fixed(p *parser, size int, to *[]byte) {
	kind := protowire.Fixed32Type
	if size == 8 {
		kind = protowire.Fixed64Type
	}
	if m.kind == kind {
		if size == 8 {
			*to = binary.LittleEndian.AppendUint64(*to, m.value)
		} else {
			*to = binary.LittleEndian.AppendUint32(*to, uint32(m.value))
		}
		n, bytes := m.run(func(b []byte) int {
			if len(b) < size {
				return -1
			}
			return size
		})
		if m.spend(p, int64(size)*int64(n+1)); m.err != nil {
			return
		}
		*to = slices.Grow(*to, n*size)
		for b := m.rest[:bytes]; len(b) > 0; b = b[1+size:] {
			*to = append(*to, b[1:1+size]...)
		}
		m.rest = m.rest[bytes:]
		return
	}
	b := m.bytes()
	if len(b)%size != 0 {
		m.fail(problem(Malformed, "%s has a list of numbers that is cut short", m.what))
		return
	}
	if len(*to) == 0 {
		*to = b[:len(b):len(b)]
		return
	}
	m.spend(p, int64(len(b)))
	*to = append(*to, b...)
}

// spend counts memory that is used in addition to the file.
func (m *message) spend(p *parser, bytes int64) {
	if p.beside += bytes; p.beside > p.most {
		m.fail(problem(TooLarge, "decoding the model's nodes, names and lists takes more than %d MiB (limits.memory)", p.most>>20))
	}
	m.count(p, bytes)
}

// count counts bytes of tensors, which share memory with the file.
func (m *message) count(p *parser, bytes int64) {
	if p.bytes += bytes; p.bytes > MaxTensorBytes {
		m.fail(problem(TooLarge, "the model's tensors and lists need more than %d MiB", MaxTensorBytes>>20))
	}
}

// writer encodes messages.
type writer struct{ b []byte }

func (w *writer) tag(n protowire.Number, kind protowire.Type) {
	w.b = protowire.AppendTag(w.b, n, kind)
}

func (w *writer) varint(n protowire.Number, v int64) {
	w.tag(n, protowire.VarintType)
	w.b = protowire.AppendVarint(w.b, uint64(v))
}

func (w *writer) bytes(n protowire.Number, v []byte) {
	w.tag(n, protowire.BytesType)
	w.b = protowire.AppendBytes(w.b, v)
}

func (w *writer) text(n protowire.Number, v string) {
	w.tag(n, protowire.BytesType)
	w.b = protowire.AppendString(w.b, v)
}

// message writes a field whose contents body writes. The length is not known before:
// if it takes more than one byte, message moves the contents.
func (w *writer) message(n protowire.Number, body func()) {
	w.tag(n, protowire.BytesType)
	start := len(w.b)
	w.b = append(w.b, 0)
	body()
	size := len(w.b) - start - 1
	if more := (bits.Len64(uint64(size)|1)+6)/7 - 1; more > 0 {
		w.b = append(w.b, make([]byte, more)...)
		copy(w.b[start+1+more:], w.b[start+1:start+1+size])
	}
	protowire.AppendVarint(w.b[:start], uint64(size))
}
