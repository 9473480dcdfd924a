// Package jsonscan reads JSON text (RFC 8259) in one forward pass, without building
// values: the caller asks for the next token of the kind that it can use.
//
// It knows nothing of features or requests. Text must be UTF-8. Lone surrogates,
// deep nesting and everything outside the grammar are refused.
package jsonscan

import (
	"bytes"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth is how deep arrays and objects may be nested.
const MaxDepth = 64

// SyntaxError describes malformed JSON.
type SyntaxError struct {
	Offset  int // in bytes, from 0
	Message string
}

// Error returns the message with the place of the error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("malformed JSON at byte %d: %s", e.Offset, e.Message)
}

// Scanner is a position in a JSON text.
type Scanner struct {
	Data []byte
	Pos  int
	// Lenient makes Skip accept NaN, Infinity and -Infinity, which JSON does not
	// have, as values.
	Lenient bool
}

// Errorf returns a SyntaxError at the current position.
func (s *Scanner) Errorf(format string, args ...any) error {
	return &SyntaxError{Offset: s.Pos, Message: fmt.Sprintf(format, args...)}
}

// Unexpected returns a SyntaxError that names what is at the current position and
// says that want should be there.
func (s *Scanner) Unexpected(want string) error {
	if s.Pos >= len(s.Data) {
		return s.Errorf("the text ends where %s should be", want)
	}
	r, size := utf8.DecodeRune(s.Data[s.Pos:])
	if r == utf8.RuneError && size <= 1 {
		return s.Errorf("byte 0x%02x where %s should be", s.Data[s.Pos], want)
	}
	return s.Errorf("%q where %s should be", r, want)
}

// Peek skips white space and returns the next byte without consuming it. It returns
// 0 at the end of the text.
func (s *Scanner) Peek() byte {
	for s.Pos < len(s.Data) {
		c := s.Data[s.Pos]
		if c > ' ' || (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
			return c
		}
		s.Pos++
	}
	return 0
}

// Take skips white space and consumes the byte c if it is next.
func (s *Scanner) Take(c byte) bool {
	if s.Pos < len(s.Data) && s.Data[s.Pos] == c {
		s.Pos++
		return true
	}
	if s.Peek() == c {
		s.Pos++
		return true
	}
	return false
}

// End returns an error unless only white space is left.
func (s *Scanner) End() error {
	if s.Peek(); s.Pos < len(s.Data) {
		return s.Unexpected("the end")
	}
	return nil
}

// Colon consumes the colon after a key.
func (s *Scanner) Colon() error {
	if !s.Take(':') {
		return s.Unexpected("a colon")
	}
	return nil
}

// More advances inside an object or array. It returns true after a comma and false
// after the closing byte. If first is set, the closing byte may come at once.
func (s *Scanner) More(closing byte, first bool) (bool, error) {
	switch c := s.Peek(); {
	case c == closing && s.Pos < len(s.Data):
		s.Pos++
		return false, nil
	case first:
		return true, nil
	case c == ',':
		s.Pos++
		return true, nil
	}
	return false, s.Unexpected(fmt.Sprintf("a comma or %q", closing))
}

// Literal consumes one of true, false and null, which must be next.
func (s *Scanner) Literal(word string) error {
	if len(s.Data)-s.Pos >= len(word) && string(s.Data[s.Pos:s.Pos+len(word)]) == word {
		s.Pos += len(word)
		return nil
	}
	return s.Unexpected("a value")
}

// String reads a string, which must be next. It returns the text: a part of Data if
// there are no escapes, else scratch extended.
func (s *Scanner) String(scratch []byte) ([]byte, error) {
	if s.Peek() != '"' {
		return nil, s.Unexpected("a string")
	}
	data, start := s.Data, s.Pos+1
	for i := start; i < len(data); {
		c := data[i]
		switch {
		case c == '"':
			s.Pos = i + 1
			return data[start:i], nil
		case c == '\\':
			s.Pos = i
			return s.escaped(append(scratch[:0], data[start:i]...))
		case c < ' ':
			s.Pos = i
			return nil, s.Errorf("control character 0x%02x inside a string: escape it", c)
		case c < utf8.RuneSelf:
			i++
		default:
			r, size := utf8.DecodeRune(data[i:])
			if r == utf8.RuneError && size <= 1 {
				s.Pos = i
				return nil, s.Errorf("byte 0x%02x is not UTF-8", c)
			}
			i += size
		}
	}
	s.Pos = len(data)
	return nil, s.Unexpected("the end of a string")
}

// escaped continues a string at its first escape.
func (s *Scanner) escaped(text []byte) ([]byte, error) {
	for s.Pos < len(s.Data) {
		c := s.Data[s.Pos]
		switch {
		case c == '"':
			s.Pos++
			return text, nil
		case c == '\\':
			r, err := s.escape()
			if err != nil {
				return nil, err
			}
			text = utf8.AppendRune(text, r)
		case c < ' ':
			return nil, s.Errorf("control character 0x%02x inside a string: escape it", c)
		default:
			r, size := utf8.DecodeRune(s.Data[s.Pos:])
			if r == utf8.RuneError && size <= 1 {
				return nil, s.Errorf("byte 0x%02x is not UTF-8", c)
			}
			text = append(text, s.Data[s.Pos:s.Pos+size]...)
			s.Pos += size
		}
	}
	return nil, s.Unexpected("the end of a string")
}

func (s *Scanner) escape() (rune, error) {
	s.Pos++
	if s.Pos >= len(s.Data) {
		return 0, s.Unexpected("an escape")
	}
	c := s.Data[s.Pos]
	switch c {
	case '"', '\\', '/':
		s.Pos++
		return rune(c), nil
	case 'b', 'f', 'n', 'r', 't':
		s.Pos++
		return map[byte]rune{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}[c], nil
	case 'u':
		high, err := s.hex4()
		if err != nil || !utf16.IsSurrogate(high) {
			return high, err
		}
		if s.Pos+1 < len(s.Data) && s.Data[s.Pos] == '\\' && s.Data[s.Pos+1] == 'u' {
			s.Pos++
			low, err := s.hex4()
			if err != nil {
				return 0, err
			}
			if r := utf16.DecodeRune(high, low); r != utf8.RuneError {
				return r, nil
			}
		}
		return 0, s.Errorf("half of a surrogate pair")
	}
	return 0, s.Unexpected(`one of " \ / b f n r t u`)
}

// hex4 reads u and four hex digits.
func (s *Scanner) hex4() (rune, error) {
	var r rune
	for range 4 {
		s.Pos++
		if s.Pos >= len(s.Data) {
			return 0, s.Unexpected("a hex digit")
		}
		switch c := s.Data[s.Pos]; {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, s.Unexpected("a hex digit")
		}
	}
	s.Pos++
	return r, nil
}

// Skip consumes one value of any kind, and checks that it is well formed.
func (s *Scanner) Skip() error { return s.skip(0) }

func (s *Scanner) skip(depth int) error {
	if depth >= MaxDepth {
		return s.Errorf("nested more than %d deep", MaxDepth)
	}
	switch c := s.Peek(); c {
	case '"':
		_, err := s.String(nil)
		return err
	case '{', '[':
		return s.skipInside(c, depth)
	case 't':
		return s.Literal("true")
	case 'f':
		return s.Literal("false")
	case 'n':
		return s.Literal("null")
	default:
		if s.Lenient && s.NotANumber() {
			return nil
		}
		_, err := s.Number()
		return err
	}
}

// NotANumber consumes NaN, Infinity or -Infinity if one is next. Some encoders write
// them although JSON does not have them.
func (s *Scanner) NotANumber() bool {
	if c := s.Peek(); c != 'N' && c != 'I' && c != '-' {
		return false
	}
	for _, literal := range [...]string{"NaN", "Infinity", "-Infinity"} {
		if bytes.HasPrefix(s.Data[s.Pos:], []byte(literal)) {
			s.Pos += len(literal)
			return true
		}
	}
	return false
}

func (s *Scanner) skipInside(opening byte, depth int) error {
	s.Pos++
	for first := true; ; first = false {
		more, err := s.More(opening+2, first) // ASCII: ] is [ + 2 and } is { + 2
		if err != nil || !more {
			return err
		}
		if opening == '{' {
			if _, err := s.String(nil); err != nil {
				return err
			}
			if err := s.Colon(); err != nil {
				return err
			}
		}
		if err := s.skip(depth + 1); err != nil {
			return err
		}
	}
}
