package table

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
)

// isArray reports whether a text is one JSON array of rows: it begins with two brackets, and
// nothing follows where the outer one is closed, for otherwise lines are rows of values. It
// looks no further than it must, nor than in can hold.
func isArray(in *bufio.Reader) bool {
	var at brackets
	rows := false // after the first bracket comes another
	for n := 1; n <= in.Size(); n++ {
		text, err := in.Peek(n)
		if err != nil {
			return rows
		}
		c := text[n-1]
		closed := at.depth == 0 && n > 1 && rows
		switch {
		case isSpace(c):
			continue
		case closed:
			return false // another line follows
		case at.depth == 0 && c != '[':
			return false
		case at.depth == 1 && !rows:
			if rows = c == '{' || c == '[' || c == ']'; !rows {
				return false
			}
		}
		at.step(c)
	}
	return rows
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// brackets follows how deep a JSON text is nested. Whether it is JSON is for others to say.
type brackets struct {
	depth             int
	quoted, backslash bool
}

func (b *brackets) step(c byte) {
	switch {
	case b.backslash:
		b.backslash = false
	case b.quoted:
		b.backslash, b.quoted = c == '\\', c != '"'
	case c == '"':
		b.quoted = true
	case c == '{' || c == '[':
		b.depth++
	case c == '}' || c == ']':
		b.depth--
	}
}

// elements splits a JSON array for a bufio.Scanner.
type elements struct {
	begun, first, ended bool
	seen                int // of the element that data begins with
	at                  brackets
}

// split implements bufio.SplitFunc.
func (e *elements) split(data []byte, atEOF bool) (advance int, token []byte, err error) {
	for ; e.seen < len(data); e.seen++ {
		c := data[e.seen]
		switch {
		case e.ended && isSpace(c):
		case e.ended:
			return 0, nil, fmt.Errorf("%q stands behind the array", c)
		case !e.begun:
			e.begun, e.first = c == '[', true
			if e.begun {
				return e.skip(), nil, nil
			}
		case !e.at.quoted && e.at.depth <= 0 && (c == ',' || c == ']'):
			e.ended = c == ']'
			token = data[:e.seen]
			if e.ended && e.first && len(bytes.TrimSpace(token)) == 0 {
				token = nil // the array is empty
			}
			e.first = false
			return e.skip(), token, nil
		default:
			e.at.step(c)
		}
	}
	switch {
	case atEOF && !e.ended:
		return 0, nil, errors.New("the array has no end")
	case atEOF:
		return len(data), nil, nil
	}
	return 0, nil, nil
}

// skip takes what was seen of data and the byte behind it.
func (e *elements) skip() int {
	n := e.seen + 1
	e.seen, e.at = 0, brackets{}
	return n
}
