//go:build linux

package process

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"

	"github.com/pynomaly/pynomaly-runtime/internal/pluginlog"
	"github.com/pynomaly/pynomaly-runtime/internal/printable"
)

// Limits for what a plugin prints to its standard output before it says where it
// listens.
const (
	maxHandshake    = 16 << 10 // bytes of the line that says so
	maxPreludeBytes = 1 << 20
	maxPreludeLines = 10_000
)

// handshakeLine matches the start of what go-plugin servers print: the version of
// go-plugin's own protocol, that of the plugin's, and where the plugin listens. Words
// without a line's end may stand before it, as a C library leaves them.
var handshakeLine = regexp.MustCompile(`1\|\d+\|(?:unix|tcp)\|`)

var errPrelude = fmt.Errorf("it printed more than %d bytes or %d lines to its standard output before it began as a plugin does", maxPreludeBytes, maxPreludeLines)

// findHandshake reads a plugin's standard output up to the line that says where it
// listens, and returns that line. What comes before it, such as a library's banner, it
// writes to words. It returns nil if the output ends without such a line, and
// errPrelude if more comes before it than a plugin may print.
func findHandshake(in *bufio.Reader, words io.Writer) ([]byte, error) {
	within := false // a line that is longer than maxHandshake
	for size, lines := 0, 0; size <= maxPreludeBytes && lines <= maxPreludeLines; {
		part, err := in.ReadSlice('\n')
		size += len(part)
		if at := handshakeLine.FindIndex(part); at != nil && !within && err == nil {
			if at[0] > 0 {
				_, _ = words.Write(append(bytes.Clone(part[:at[0]]), '\n'))
			}
			return bytes.Clone(part[at[0]:]), nil
		}
		_, _ = words.Write(part)
		if within = errors.Is(err, bufio.ErrBufferFull); err != nil && !within {
			return nil, nil
		}
		lines++
	}
	return nil, errPrelude
}

// readOutput writes the line that says where the plugin listens to first. It logs the
// rest, which is not part of the protocol.
func (p *proc) readOutput(from io.Reader, first *io.PipeWriter) {
	in := bufio.NewReaderSize(from, maxHandshake)
	line, err := findHandshake(in, p.log)
	if err != nil {
		p.kill(err)
	}
	p.mute.Store(line == nil)
	if line != nil {
		_, _ = first.Write(append([]byte(printable.Short(string(line), pluginlog.MaxLine)), '\n'))
	}
	_ = first.Close()
	_, _ = io.Copy(p.log, in)
}
