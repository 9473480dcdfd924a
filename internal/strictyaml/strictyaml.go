// Package strictyaml reads YAML documents in which every key must be known.
//
// It reports all problems at once, each with its line, where yaml's own decoder
// stops at the first kind of them. It knows nothing of what the documents mean:
// validation is the caller's, by path, through Decoder.Problemf.
package strictyaml

import (
	"errors"
	"fmt"
	"io"
	"math"
	"sort"
	"strings"
	"time"

	"bytes"

	"go.yaml.in/yaml/v3"

	"github.com/pynomaly/pynomaly-runtime/internal/nearest"
)

// MaxBytes is the largest document that is read.
const MaxBytes = 1 << 20

const maxDepth = 32

// Problem is one thing wrong with a document.
type Problem struct {
	Line    int    // from 1; 0 when no line is to blame
	Path    string // for example features[2].dtype
	Message string
}

// String formats the problem as "line 3: features[2].dtype: message".
func (p Problem) String() string {
	var b strings.Builder
	if p.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", p.Line)
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	return b.String() + p.Message
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

// Field takes the value of one key.
type Field func(d *Decoder, n *yaml.Node, path string)

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
	Object(fields)(d, doc.Content[0], "")
	return d
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

func (d *Decoder) add(n *yaml.Node, path, message string) {
	p := Problem{Path: path, Message: message}
	if n != nil {
		p.Line = n.Line
	}
	d.problems = append(d.problems, p)
}

// Object takes an object with the given keys and no others.
func Object(fields Fields) Field {
	return func(d *Decoder, n *yaml.Node, path string) {
		d.each(n, path, func(key, value *yaml.Node, at string) {
			take, ok := fields[key.Value]
			if !ok {
				names := make([]string, 0, len(fields))
				for k := range fields {
					names = append(names, k)
				}
				d.add(key, at, "unknown key"+nearest.Hint(key.Value, names))
				return
			}
			take(d, value, at)
		})
	}
}

// Map takes an object with any keys, each value taken by what each returns for
// its key.
func Map(each func(key string) Field) Field {
	return func(d *Decoder, n *yaml.Node, path string) {
		d.each(n, path, func(key, value *yaml.Node, at string) { each(key.Value)(d, value, at) })
	}
}

func (d *Decoder) each(n *yaml.Node, path string, take func(key, value *yaml.Node, at string)) {
	if n.Kind != yaml.MappingNode {
		d.add(n, path, "must be an object (key: value), not "+kind(n))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := key.Value
		if path != "" {
			at = path + "." + key.Value
		}
		switch {
		case key.Kind != yaml.ScalarNode || key.Tag == "!!merge":
			d.add(key, at, "keys must be plain words")
		case seen[key.Value]:
			d.add(key, at, "given twice")
		default:
			seen[key.Value] = true
			d.lines[at] = key.Line
			take(key, value, at)
		}
	}
}

// List takes a list; each is called with the position of every item.
func List(each func(i int) Field) Field {
	return func(d *Decoder, n *yaml.Node, path string) {
		if n.Kind != yaml.SequenceNode {
			d.add(n, path, "must be a list, not "+kind(n))
			return
		}
		for i, item := range n.Content {
			at := fmt.Sprintf("%s[%d]", path, i)
			d.lines[at] = item.Line
			each(i)(d, item, at)
		}
	}
}

// String takes a text. A number or a truth value must be quoted, so that 1.0 as
// a version is never read as 1.
func String(to *string) Field {
	return func(d *Decoder, n *yaml.Node, path string) {
		if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
			d.add(n, path, "must be a text, not empty")
			return
		}
		if n.Kind != yaml.ScalarNode {
			d.add(n, path, "must be a text, not "+kind(n))
			return
		}
		*to = n.Value
	}
}

// Strings takes a list of texts.
func Strings(to *[]string) Field {
	return List(func(int) Field {
		*to = append(*to, "")
		return String(&(*to)[len(*to)-1])
	})
}

// StringMap takes an object of texts.
func StringMap(to *map[string]string) Field {
	return func(d *Decoder, n *yaml.Node, path string) {
		*to = map[string]string{}
		Map(func(key string) Field {
			return func(d *Decoder, n *yaml.Node, path string) {
				var s string
				String(&s)(d, n, path)
				(*to)[key] = s
			}
		})(d, n, path)
	}
}

// Bool takes true or false.
func Bool(to *bool) Field { return scalar(to, "!!bool", "true or false") }

// Int takes a whole number.
func Int[T ~int | ~int64](to *T) Field { return scalar(to, "!!int", "a whole number") }

// Float takes a finite number.
func Float(to *float64) Field {
	return func(d *Decoder, n *yaml.Node, path string) {
		var v float64
		if n.Kind != yaml.ScalarNode || (n.Tag != "!!float" && n.Tag != "!!int") || n.Decode(&v) != nil ||
			math.IsNaN(v) || math.IsInf(v, 0) {
			d.add(n, path, "must be a finite number, not "+kind(n))
			return
		}
		*to = v
	}
}

// OptionalFloat is Float for a value that may be absent.
func OptionalFloat(to **float64) Field {
	return func(d *Decoder, n *yaml.Node, path string) {
		var v float64
		before := len(d.problems)
		if Float(&v)(d, n, path); len(d.problems) == before {
			*to = &v
		}
	}
}

func scalar[T any](to *T, tag, want string) Field {
	return func(d *Decoder, n *yaml.Node, path string) {
		var v T
		if n.Kind != yaml.ScalarNode || n.Tag != tag || n.Decode(&v) != nil {
			d.add(n, path, fmt.Sprintf("must be %s, not %s", want, kind(n)))
			return
		}
		*to = v
	}
}

// Duration takes a duration such as 2s or 1m30s, or 0.
func Duration(to *time.Duration) Field {
	return Parsed(to, time.ParseDuration, "a duration such as 500ms, 2s or 1m30s")
}

// Bytes takes a number of bytes such as 256MiB, 1GB or 1024.
func Bytes(to *int64) Field {
	return Parsed(to, ParseBytes, "a size such as 64KiB, 256MiB or 2GiB")
}

// Parsed takes what parse can read; want says what that is, for the error.
func Parsed[T any](to *T, parse func(string) (T, error), want string) Field {
	return func(d *Decoder, n *yaml.Node, path string) {
		var v T
		err := errors.New("not a scalar")
		if n.Kind == yaml.ScalarNode {
			v, err = parse(n.Value)
		}
		if err != nil {
			d.add(n, path, "must be "+want+", not "+kind(n))
			return
		}
		*to = v
	}
}

// Any takes any value: maps with text keys, lists, texts, numbers, truth values
// and nothing.
func Any(to *any) Field {
	return func(d *Decoder, n *yaml.Node, path string) { *to = d.any(n, path, 0) }
}

// AnyMap takes an object of any values.
func AnyMap(to *map[string]any) Field {
	return func(d *Decoder, n *yaml.Node, path string) {
		v, ok := d.any(n, path, 0).(map[string]any)
		if !ok {
			d.add(n, path, "must be an object (key: value), not "+kind(n))
			return
		}
		*to = v
	}
}

func (d *Decoder) any(n *yaml.Node, path string, depth int) any {
	if depth > maxDepth {
		d.add(n, path, fmt.Sprintf("is nested more than %d deep", maxDepth))
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		d.each(n, path, func(key, value *yaml.Node, at string) { m[key.Value] = d.any(value, at, depth+1) })
		return m
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			list[i] = d.any(item, fmt.Sprintf("%s[%d]", path, i), depth+1)
		}
		return list
	case yaml.ScalarNode:
		var v any
		switch n.Tag {
		case "!!int":
			var i int64
			if n.Decode(&i) == nil {
				return i
			}
		case "!!float", "!!bool", "!!null":
			if n.Decode(&v) == nil {
				if f, ok := v.(float64); ok && depth > 0 && (math.IsNaN(f) || math.IsInf(f, 0)) {
					d.add(n, path, "must be finite: JSON, in which it is handed on, has no "+n.Value)
					return nil
				}
				return v
			}
		case "!!str", "!!timestamp":
			return n.Value
		}
	}
	d.add(n, path, "cannot be "+kind(n))
	return nil
}

func kind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "an object"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias (anchors are not supported: write the value out)"
	}
	if n.Tag == "!!null" {
		return "empty"
	}
	return fmt.Sprintf("%.60q", n.Value)
}
