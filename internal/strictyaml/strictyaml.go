// Package strictyaml decodes YAML documents and refuses unknown keys.
//
// It reports all problems at once, each with its line, while yaml's own decoder
// stops at the first kind. It does not know what a document means: the caller
// validates values and reports problems by path with Decoder.Problemf.
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

// MaxBytes is the size of the largest accepted document.
const MaxBytes = 1 << 20

// Limits on the cost of a document, which its size alone does not bound.
const (
	maxDepth    = 32
	maxMarks    = 300_000 // characters that can begin a value, for which the parser makes nodes
	maxKey      = 1 << 10
	maxProblems = 50
	maxText     = 300 // bytes of a problem's path, and of its message
)

// Problem is one error in a document.
type Problem struct {
	Line    int    // from 1; 0 if there is none
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

// clip shortens a text, and quotes it if it has characters that a terminal would
// interpret.
func clip(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "..."
	}
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		s = strconv.Quote(s)
	}
	return s
}

// Problems are all errors of a document, ordered by line.
type Problems []Problem

// Error lists every problem, separated by semicolons.
func (p Problems) Error() string {
	all := make([]string, len(p))
	for i, q := range p {
		all[i] = q.String()
	}
	return strings.Join(all, "; ")
}

// Path is the position of a value. It points to its parent's Path, because all paths
// written out could be many times as long as the document.
type Path struct {
	above *Path
	key   string
	index int  // of a list's item, if key is empty
	free  bool // the document chose one of the keys in the path
}

// String formats the path as features[2].dtype.
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

// Field accepts the value of one key.
type Field func(d *Decoder, n *yaml.Node, path *Path)

// Fields maps the keys of an object to what accepts their values.
type Fields map[string]Field

// Decoder collects the values and problems of one document.
type Decoder struct {
	problems Problems
	lines    map[string]int
}

// Decode decodes a document whose top level is an object with the given fields. The
// Decoder is never nil. The caller adds its own problems and then calls Err.
func Decode(data []byte, fields Fields) *Decoder {
	d := &Decoder{lines: map[string]int{}}
	if len(data) > MaxBytes {
		d.add(nil, "", fmt.Sprintf("the file has %d bytes; at most %d are read", len(data), MaxBytes))
		return d
	}
	if n := marks(data); n > maxMarks {
		d.add(nil, "", fmt.Sprintf("the file has about %d values; at most %d are read", n, maxMarks))
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
		d.add(&more, "", "the file has more than one document")
		return d
	}
	Object(fields)(d, doc.Content[0], &Path{})
	return d
}

// marks counts the characters that can make the parser create a node.
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

// Has reports whether the document has a value at path.
func (d *Decoder) Has(path string) bool { _, ok := d.lines[path]; return ok }

// Problemf adds a problem at path. Its line is that of the nearest enclosing path in
// the document.
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

// full reports whether the limit of problems is reached, and if so adds a last
// problem that says it.
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

// at adds a problem for the value at a path.
func (d *Decoder) at(n *yaml.Node, path *Path, message string) {
	if !d.full() {
		d.add(n, path.String(), message)
	}
}
