package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// Report describes what Verify has found in order.
type Report struct {
	Lines       int
	First, Last uint64 // numbers of lines; 0: there is none
	Hash        string // of the last line
	Torn        int    // lines that a host's end interrupted, as the lines after them record
}

// Broken says where a chain breaks.
type Broken struct {
	File   string
	Line   int // in the file, from 1
	Reason string
}

// Error implements error.
func (b *Broken) Error() string { return fmt.Sprintf("%s:%d: %s", b.File, b.Line, b.Reason) }

// Verify reads the files of one audit, in any order, and follows the chain through
// all of them. The error is a *Broken for the first line that was changed, removed,
// added or reordered. If last is not empty, one of the lines must have that hash.
//
// Verify cannot find lines missing before the first file or after the last line:
// Report says where the chain begins and ends.
// where the chain begins and ends.
func Verify(files []string, last string) (Report, error) {
	files, err := inOrder(files)
	if err != nil {
		return Report{}, err
	}
	c := chain{wanted: last}
	for _, name := range files {
		if err := c.file(name); err != nil {
			return c.report, err
		}
	}
	switch {
	case c.torn != nil:
		return c.report, c.torn
	case last != "" && !c.found:
		return c.report, fmt.Errorf("no line has the hash %.64s: lines are missing at the end, or all lines were rewritten", last)
	}
	return c.report, nil
}

// inOrder sorts files by the number of their first line. Files without one come
// first, so that verifying them reports why.
func inOrder(files []string) ([]string, error) {
	first := map[string]uint64{}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, err //nolint:wrapcheck // it names the file
		}
		r := bufio.NewReaderSize(f, maxLine)
		for range 2 { // the first may have been interrupted
			line, _ := r.ReadSlice('\n')
			if l, err := parseLine(bytes.TrimSuffix(line, []byte("\n"))); err == nil {
				first[name] = l.Seq
				break
			}
		}
		_ = f.Close()
	}
	files = slices.Clone(files)
	slices.SortStableFunc(files, func(a, b string) int { return cmp.Compare(first[a], first[b]) })
	return files, nil
}

// chain is the part of a chain that has been verified.
type chain struct {
	report Report
	wanted string
	found  bool
	torn   *Broken // a malformed line, which the next line must record
	rest   string  // its hash
}

func (c *chain) file(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err //nolint:wrapcheck // it names the file
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, maxLine)
	for n := 1; ; n++ {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		if err == nil {
			line = line[:len(line)-1]
		}
		if broken := c.line(line, name, n); broken != nil {
			return broken
		}
		if c.torn != nil && errors.Is(err, bufio.ErrBufferFull) {
			return c.torn
		}
	}
}

// line verifies the next line, or returns where the chain breaks.
func (c *chain) line(text []byte, file string, n int) *Broken {
	l, err := parseLine(text)
	switch {
	case err != nil && c.torn == nil:
		// The host may have ended while it wrote the line. Then the next line
		// records it.
		c.torn = &Broken{file, n, "the line is not as the host has written it: " + err.Error()}
		c.rest = sum(text)
		return nil
	case c.torn != nil && (err != nil || l.Torn != c.rest):
		return c.torn
	case c.torn == nil && l.Torn != "":
		return &Broken{file, n, "what an interrupted line had left before this one was removed"}
	case c.torn != nil:
		c.torn = nil
		c.report.Torn++
	}
	if reason := c.follow(l); reason != "" {
		return &Broken{file, n, reason}
	}
	return nil
}

// follow accepts a line as the next of the chain, or returns why it is not.
func (c *chain) follow(l link) string {
	switch r := &c.report; {
	case r.Lines == 0 && l.Seq == 1 && l.Prev != start:
		return "the line has number 1 and is not the first one of an audit"
	case r.Lines == 0:
		r.First = l.Seq
	case l.Seq > r.Last+1:
		return fmt.Sprintf("the line has number %d and follows number %d: what was between them was removed", l.Seq, r.Last)
	case l.Seq <= r.Last:
		return fmt.Sprintf("the line has number %d and follows number %d: lines were reordered or added", l.Seq, r.Last)
	case l.Prev != r.Hash:
		return "the line does not belong to the one before it: one of them was replaced"
	}
	c.report.Lines++
	c.report.Last, c.report.Hash = l.Seq, l.hash
	c.found = c.found || l.hash == c.wanted
	return ""
}
