// Package strictyaml reads YAML documents in which every key must be known.
//
// It reports all problems at once, each with its line, where yaml's own decoder
// stops at the first kind of them. It knows nothing of what the documents mean:
// validation is the caller's, by path, through Decoder.Problemf.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// MaxBytes is the largest document that is read.
const MaxBytes = 1 << 20

// Bounds of what a document costs: its size alone does not bound that.
const (
	maxDepth    = 32
	maxMarks    = 300_000 // characters that can begin a value, of which the parser makes nodes
	maxKey      = 1 << 10
	maxProblems = 50
	maxText     = 300 // bytes of a problem's path, and of its message
)

// Problem is one thing wrong with a document.
type Problem struct {
	Line    int    // from 1; 0 when no line is to blame
	Path    string // for example features[2].dtype
	Message string
}

// String formats the problem as "line 3: features[2].dtype: message".
func (p Problem) String() string {
	var b strings.Builder
	if p.Line > 0 && p.Line < math.MaxInt32 {
		fmt.Fprintf(&b, "line %d: ", p.Line)
	}
	if p.Path != "" {
		b.WriteString(clip(p.Path) + ": ")
	}
	return b.String() + clip(p.Message)
}

// clip shortens a text, and quotes it where it holds what a terminal would obey.
func clip(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "..."
	}
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		s = strconv.Quote(s)
	}
	return s
}

// Problems are all that is wrong with a document, in order of lines.
type Problems []Problem

// Error lists every problem, separated by semicolons.
func (p Problems) Error() string {
	all := make([]string, len(p))
	for i, q := range p {
		all[i] = q.String()
	}
	return strings.Join(all, "; ")
}

// Path is where a value stands. It refers to the one above it: the paths of all
// values, written out, could be many times as long as the document.
type Path struct {
	above *Path
	key   string
	index int  // of an item of a list, where key is empty
	free  bool // keys of the document's own choice lie on the way
}

// String writes the path as in features[2].dtype.
func (p *Path) String() string {
	var parts []string
	for at := p; at != nil && at.above != nil; at = at.above {
		if at.key == "" {
			parts = append(parts, fmt.Sprintf("[%d]", at.index))
			continue
		}
		part := at.key
		if at.above.above != nil {
			part = "." + part
		}
		parts = append(parts, part)
	}
	slices.Reverse(parts)
	return strings.Join(parts, "")
}

// Field takes the value of one key.
type Field func(d *Decoder, n *yaml.Node, path *Path)

// Fields are the keys an object may have.
type Fields map[string]Field

// Decoder collects values and problems of one document.
type Decoder struct {
	problems Problems
	lines    map[string]int
}

// Decode reads a document whose top level is an object with the given fields.
// The Decoder is never nil: the caller adds its own problems to it and then asks
// for Err.
func Decode(data []byte, fields Fields) *Decoder {
	d := &Decoder{lines: map[string]int{}}
	if len(data) > MaxBytes {
		d.add(nil, "", fmt.Sprintf("the file has %d bytes; at most %d are read", len(data), MaxBytes))
		return d
	}
	if n := marks(data); n > maxMarks {
		d.add(nil, "", fmt.Sprintf("the file holds about %d values; at most %d are read", n, maxMarks))
		return d
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			d.add(nil, "", "the file is empty")
		} else {
			d.add(nil, "", strings.TrimPrefix(err.Error(), "yaml: "))
		}
		return d
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		d.add(&more, "", "the file holds more than one document")
		return d
	}
	Object(fields)(d, doc.Content[0], &Path{})
	return d
}

// marks counts the characters without which the parser makes no further node.
func marks(data []byte) int {
	n := 0
	for _, c := range data {
		switch c {
		case '\n', '\r', ',', ':', '[', '{', '-', '?':
			n++
		}
	}
	return n
}

// Err returns the collected problems, or nil.
func (d *Decoder) Err() error {
	if len(d.problems) == 0 {
		return nil
	}
	sort.SliceStable(d.problems, func(i, j int) bool { return d.problems[i].Line < d.problems[j].Line })
	return d.problems
}

// Has reports whether the document has something at path.
func (d *Decoder) Has(path string) bool { _, ok := d.lines[path]; return ok }

// Problemf adds a problem at path; its line is that of the nearest enclosing
// path that the document has.
func (d *Decoder) Problemf(path, format string, args ...any) {
	if d.full() {
		return
	}
	line, at := 0, path
	for {
		if l, ok := d.lines[at]; ok {
			line = l
			break
		}
		cut := strings.LastIndexAny(at, ".[")
		if cut < 0 {
			break
		}
		at = at[:cut]
	}
	d.problems = append(d.problems, Problem{Line: line, Path: path, Message: fmt.Sprintf(format, args...)})
}

// full reports whether there are as many problems as are told; the last one says so.
func (d *Decoder) full() bool {
	if len(d.problems) == maxProblems {
		d.problems = append(d.problems, Problem{Line: math.MaxInt32, Message: "there are more problems"})
	}
	return len(d.problems) > maxProblems
}

func (d *Decoder) add(n *yaml.Node, path, message string) {
	if d.full() {
		return
	}
	p := Problem{Path: path, Message: message}
	if n != nil {
		p.Line = n.Line
	}
	d.problems = append(d.problems, p)
}

// at is add for the value at a path.
func (d *Decoder) at(n *yaml.Node, path *Path, message string) {
	if !d.full() {
		d.add(n, path.String(), message)
	}
}
