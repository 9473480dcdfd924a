package table

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// blank is the only field of a record that represents a blank line.
const blank = "\x00"

// lines prepares CSV for package encoding/csv so that nothing is lost. By itself
// encoding/csv skips blank lines, which are rows of a table of one column, and
// changes line ends in quotes to those of Unix.
type lines struct {
	in     *bufio.Reader
	ready  []byte // returned next
	space  []byte // of ready
	quoted bool   // inside a quoted field
	err    error  // returned after ready
}

func newLines(in io.Reader) *lines { return &lines{in: bufio.NewReader(in)} }

// Read implements io.Reader.
func (l *lines) Read(p []byte) (int, error) {
	for len(l.ready) == 0 {
		if l.err != nil {
			return 0, l.err
		}
		l.fill()
	}
	n := copy(p, l.ready)
	l.ready = l.ready[n:]
	return n, nil
}

// fill reads up to the end of a line, or as much of the line as fits into the
// buffer.
func (l *lines) fill() {
	begins := !l.quoted && (len(l.space) == 0 || l.space[len(l.space)-1] == '\n')
	line, err := l.in.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		l.err = err
	}
	l.space = l.space[:0]
	if begins && (string(line) == "\n" || string(line) == "\r\n") {
		l.space = append(l.space, `"`+blank+"\"\n"...)
		l.ready = l.space
		return
	}
	l.quoted = l.quoted != (bytes.Count(line, []byte{'"'})%2 == 1)
	l.space = append(l.space, line...)
	if n := len(l.space); l.quoted && n > 1 && string(l.space[n-2:]) == "\r\n" { // encoding/csv drops one
		l.space = append(l.space[:n-2], "\r\r\n"...)
	}
	l.ready = l.space
}
