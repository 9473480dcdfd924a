package pluginlog

import (
	"bytes"
	"fmt"
)

// traceback collects the lines of a traceback as Python prints it: a line that says so,
// indented lines, and a line with the exception, which ends it.
type traceback struct {
	text    []byte // empty: there is none
	omitted int    // lines in its middle that did not fit
}

// mostOmitted is how many lines of a traceback may be left out before the rest counts
// as other lines do.
const mostOmitted = 5000

// The results of traceback.add.
type traced int

const (
	traceNone  traced = iota // the line belongs to no traceback
	traceMore                // more lines follow
	traceWhole               // it was the last line
)

var (
	traceBegins = []byte("Traceback (most recent call last):")
	traceChains = [][]byte{
		[]byte("During handling of the above exception, another exception occurred:"),
		[]byte("The above exception was the direct cause of the following exception:"),
	}
)

// add adds a line. The line is not empty.
func (t *traceback) add(line []byte) traced {
	begins := bytes.HasSuffix(bytes.TrimSpace(line), traceBegins)
	for _, chain := range traceChains {
		begins = begins || bytes.Equal(bytes.TrimSpace(line), chain)
	}
	indented := line[0] == ' ' || line[0] == '\t'
	switch {
	case len(t.text) == 0 && !begins:
		return traceNone
	case len(t.text) > 0 && (indented || begins) && len(t.text)+len(line) > MaxRecord-MaxLine && t.omitted < mostOmitted:
		t.omitted++
		return traceMore
	}
	if t.omitted >= mostOmitted {
		return traceWhole
	}
	if t.omitted > 0 && !indented {
		t.text = fmt.Appendf(t.text, "  ... %d lines left out\n", t.omitted)
		t.omitted = 0
	}
	t.text = append(append(t.text, line...), '\n')
	if begins || indented {
		return traceMore
	}
	return traceWhole
}

// take returns the traceback so far and begins anew.
func (t *traceback) take() string {
	text := string(bytes.TrimSuffix(t.text, []byte("\n")))
	t.text, t.omitted = t.text[:0], 0
	return text
}
