package meter

import "unicode/utf8"

// reader reads a part of a module. It refuses to read past the end.
type reader struct {
	data []byte
	pos  int
	base int    // offset of data in the module, for messages
	raw  []byte // the instruction that next has read, re-encoded
}

func (r *reader) refuse(format string, args ...any) {
	refuse("byte %d: "+format, append([]any{r.base + r.pos}, args...)...)
}

func (r *reader) done() bool { return r.pos >= len(r.data) }

func (r *reader) end(what string) {
	if !r.done() {
		r.refuse("%d bytes are left over at the end of %s", len(r.data)-r.pos, what)
	}
}

func (r *reader) byte() byte {
	if r.done() {
		r.refuse("it is cut short")
	}
	r.pos++
	return r.data[r.pos-1]
}

func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.data)-r.pos {
		r.refuse("it is cut short: %d bytes are announced, %d are left", n, len(r.data)-r.pos)
	}
	r.pos += n
	return r.data[r.pos-n : r.pos : r.pos]
}

// part returns a reader of the next n bytes.
func (r *reader) part(n int) *reader {
	at := r.base + r.pos
	return &reader{data: r.bytes(n), base: at}
}

// u32 reads an unsigned LEB128 number.
func (r *reader) u32() uint32 {
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		v |= uint64(b&0x7f) << shift
		if b&0x80 == 0 {
			if v > 1<<32-1 {
				r.refuse("a number does not fit in 32 bits")
			}
			return uint32(v)
		}
	}
	r.refuse("a number is longer than 5 bytes")
	return 0
}

// signed reads a signed LEB128 number of the given width. Excess bits of the last
// byte must repeat the sign.
func (r *reader) signed(bits int) int64 {
	var v int64
	for shift := 0; shift < (bits+6)/7*7; shift += 7 {
		b := r.byte()
		v |= int64(b&0x7f) << shift
		if b&0x80 == 0 {
			if used := bits - shift; used < 7 {
				if rest := b & 0x7f >> (used - 1); rest != 0 && rest != 0x7f>>(used-1) {
					r.refuse("a number does not fit in %d bits", bits)
				}
			}
			if b&0x40 != 0 && shift+7 < 64 {
				v |= -1 << (shift + 7)
			}
			return v
		}
	}
	r.refuse("a number is longer than %d bits", bits)
	return 0
}

// count reads the length of a vector, each of whose elements takes at least a byte.
func (r *reader) count(what string, most int) int {
	n := r.u32()
	if int64(n) > int64(len(r.data)-r.pos) {
		r.refuse("%d %s are announced, %d bytes are left", n, what, len(r.data)-r.pos)
	}
	if int64(n) > int64(most) {
		r.refuse("it has %d %s; at most %d are allowed", n, what, most)
	}
	return int(n)
}

const noMost = 1<<31 - 1

// name reads a name, which must be UTF-8.
func (r *reader) name() []byte {
	name := r.bytes(r.count("bytes of a name", noMost))
	if !utf8.Valid(name) {
		r.refuse("a name is not UTF-8")
	}
	return name
}

// The copy functions read a part of an instruction and append it to r.raw.

func (r *reader) copyU32() uint32 {
	v := r.u32()
	r.raw = putU32(r.raw, v)
	return v
}

func (r *reader) copySigned(bits int) int64 {
	v := r.signed(bits)
	r.raw = putSigned(r.raw, v)
	return v
}

func (r *reader) copyBytes(n int) { r.raw = append(r.raw, r.bytes(n)...) }

// Value types.
const (
	typeI32     = 0x7f
	typeI64     = 0x7e
	typeF32     = 0x7d
	typeF64     = 0x7c
	typeV128    = 0x7b
	typeFunc    = 0x60
	typeFuncref = 0x70
	typeExtern  = 0x6f
	typeEmpty   = 0x40
)

func isValueType(b byte) bool { return (b >= 0x7b && b <= 0x7f) || b == typeFuncref || b == typeExtern }

func (r *reader) valueType() byte {
	b := r.byte()
	if !isValueType(b) {
		r.refuse("value type %#x is not known", b)
	}
	return b
}

func (r *reader) valueTypes(most int) []byte {
	n := r.count("values of a type", most)
	from := r.pos
	for range n {
		r.valueType()
	}
	return r.data[from:r.pos:r.pos]
}

func (r *reader) refType() byte {
	b := r.byte()
	if b != typeFuncref && b != typeExtern {
		r.refuse("reference type %#x is not known", b)
	}
	return b
}

// limits reads the bounds of a table or memory.
func (r *reader) limits() (least, most uint32, bounded bool) {
	switch flag := r.byte(); flag {
	case 0:
		return r.u32(), 0, false
	case 1:
		return r.u32(), r.u32(), true
	default:
		r.refuse("limits of kind %d are not known", flag)
		return 0, 0, false
	}
}

// The put functions append to b.

func putUnsigned(b []byte, v uint64) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func putU32[T ~uint32 | ~int](b []byte, v T) []byte { return putUnsigned(b, uint64(v)) }

func putSigned(b []byte, v int64) []byte {
	for {
		low := byte(v & 0x7f)
		v >>= 7
		if (v == 0 && low&0x40 == 0) || (v == -1 && low&0x40 != 0) {
			return append(b, low)
		}
		b = append(b, low|0x80)
	}
}

func putVector(b, content []byte) []byte { return append(putU32(b, len(content)), content...) }
