package strictyaml

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/pynomaly/pynomaly-runtime/internal/nearest"
)

// Object accepts an object with the given keys and no others.
func Object(fields Fields) Field {
	return func(d *Decoder, n *yaml.Node, path *Path) {
		d.each(n, path, false, func(key, value *yaml.Node, at *Path) {
			take, ok := fields[key.Value]
			if !ok {
				if d.full() {
					return
				}
				names := make([]string, 0, len(fields))
				for k := range fields {
					names = append(names, k)
				}
				d.at(key, at, "unknown key"+nearest.Hint(key.Value, names))
				return
			}
			take(d, value, at)
		})
	}
}

// Map accepts an object with any keys. The Field that each returns for a key accepts
// the key's value.
func Map(each func(key string) Field) Field {
	return func(d *Decoder, n *yaml.Node, path *Path) {
		d.each(n, path, true, func(key, value *yaml.Node, at *Path) { each(key.Value)(d, value, at) })
	}
}

// each visits the keys of an object. If free is set, the document chooses its keys,
// and the lines of the keys below them are not recorded.
func (d *Decoder) each(n *yaml.Node, path *Path, free bool, take func(key, value *yaml.Node, at *Path)) {
	if n.Kind != yaml.MappingNode {
		d.at(n, path, "must be an object (key: value), not "+kind(n))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := &Path{above: path, key: key.Value, free: path.free || free}
		switch {
		case key.Kind != yaml.ScalarNode || key.Tag == "!!merge" || key.Value == "":
			d.at(key, at, "keys must be plain words")
		case len(key.Value) > maxKey:
			d.at(key, path, fmt.Sprintf("has a key of %d bytes; at most %d are allowed", len(key.Value), maxKey))
		case seen[key.Value]:
			d.at(key, at, "given twice")
		default:
			seen[key.Value] = true
			if !path.free {
				d.lines[at.String()] = key.Line
			}
			take(key, value, at)
		}
	}
}

// List accepts a list. It calls each with the index of every item.
func List(each func(i int) Field) Field {
	return func(d *Decoder, n *yaml.Node, path *Path) {
		if n.Kind != yaml.SequenceNode {
			d.at(n, path, "must be a list, not "+kind(n))
			return
		}
		for i, item := range n.Content {
			at := &Path{above: path, index: i, free: path.free}
			if !path.free {
				d.lines[at.String()] = item.Line
			}
			each(i)(d, item, at)
		}
	}
}

// String accepts a string. A number or a boolean must be quoted, so that the version
// 1.0 is never read as 1.
func String(to *string) Field {
	return func(d *Decoder, n *yaml.Node, path *Path) {
		if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
			d.at(n, path, "must be a text, not empty")
			return
		}
		if n.Kind != yaml.ScalarNode {
			d.at(n, path, "must be a text, not "+kind(n))
			return
		}
		*to = n.Value
	}
}

// Strings accepts a list of strings.
func Strings(to *[]string) Field {
	return List(func(int) Field {
		*to = append(*to, "")
		return String(&(*to)[len(*to)-1])
	})
}

// StringMap accepts an object with string values.
func StringMap(to *map[string]string) Field {
	return func(d *Decoder, n *yaml.Node, path *Path) {
		*to = map[string]string{}
		Map(func(key string) Field {
			return func(d *Decoder, n *yaml.Node, path *Path) {
				var s string
				String(&s)(d, n, path)
				(*to)[key] = s
			}
		})(d, n, path)
	}
}

// Bool accepts true or false.
func Bool(to *bool) Field { return scalar(to, "!!bool", "true or false") }

// Int accepts an integer.
func Int[T ~int | ~int64](to *T) Field { return scalar(to, "!!int", "a whole number") }

// Float accepts a finite number.
func Float(to *float64) Field {
	return func(d *Decoder, n *yaml.Node, path *Path) {
		var v float64
		if n.Kind != yaml.ScalarNode || (n.Tag != "!!float" && n.Tag != "!!int") || decodeFloat(n, &v) != nil ||
			math.IsNaN(v) || math.IsInf(v, 0) {
			d.at(n, path, "must be a finite number, not "+kind(n))
			return
		}
		*to = v
	}
}

// decodeFloat does what Node.Decode does, which takes microseconds. It is fast for
// numbers in JSON's syntax.
func decodeFloat(n *yaml.Node, to *float64) error {
	rest := strings.TrimPrefix(n.Value, "-")
	if rest == "" || rest[0] < '0' || rest[0] > '9' || (len(rest) > 1 && rest[0] == '0' && rest[1] != '.') {
		return n.Decode(to)
	}
	for i := range len(rest) {
		if c := rest[i]; (c < '0' || c > '9') && c != '.' && c != 'e' && c != 'E' && c != '-' && c != '+' {
			return n.Decode(to)
		}
	}
	v, err := strconv.ParseFloat(n.Value, 64)
	if err != nil {
		return n.Decode(to)
	}
	*to = v
	return nil
}

// OptionalFloat accepts what Float does and stores a pointer, so that a missing
// value stays nil.
func OptionalFloat(to **float64) Field {
	return func(d *Decoder, n *yaml.Node, path *Path) {
		var v float64
		before := len(d.problems)
		if Float(&v)(d, n, path); len(d.problems) == before {
			*to = &v
		}
	}
}

func scalar[T any](to *T, tag, want string) Field {
	return func(d *Decoder, n *yaml.Node, path *Path) {
		var v T
		if n.Kind != yaml.ScalarNode || n.Tag != tag || n.Decode(&v) != nil {
			d.at(n, path, fmt.Sprintf("must be %s, not %s", want, kind(n)))
			return
		}
		*to = v
	}
}

// Duration accepts a duration such as 2s or 1m30s, or 0.
func Duration(to *time.Duration) Field {
	return Parsed(to, time.ParseDuration, "a duration such as 500ms, 2s or 1m30s")
}

// Bytes accepts a number of bytes such as 256MiB, 1GB or 1024.
func Bytes(to *int64) Field {
	return Parsed(to, ParseBytes, "a size such as 64KiB, 256MiB or 2GiB")
}

// Parsed accepts what parse can parse. The error describes it with want.
func Parsed[T any](to *T, parse func(string) (T, error), want string) Field {
	return func(d *Decoder, n *yaml.Node, path *Path) {
		var v T
		err := errors.New("not a scalar")
		if n.Kind == yaml.ScalarNode {
			v, err = parse(n.Value)
		}
		if err != nil {
			d.at(n, path, "must be "+want+", not "+kind(n))
			return
		}
		*to = v
	}
}

// Any accepts any value: maps with string keys, lists, strings, numbers, booleans
// and null.
func Any(to *any) Field {
	return func(d *Decoder, n *yaml.Node, path *Path) { *to = d.any(n, path, 0) }
}

// AnyMap accepts an object with any values.
func AnyMap(to *map[string]any) Field {
	return func(d *Decoder, n *yaml.Node, path *Path) {
		v, ok := d.any(n, path, 0).(map[string]any)
		if !ok {
			d.at(n, path, "must be an object (key: value), not "+kind(n))
			return
		}
		*to = v
	}
}

func (d *Decoder) any(n *yaml.Node, path *Path, depth int) any {
	if depth > maxDepth {
		d.at(n, path, fmt.Sprintf("is nested more than %d deep", maxDepth))
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		d.each(n, path, true, func(key, value *yaml.Node, at *Path) { m[key.Value] = d.any(value, at, depth+1) })
		return m
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			list[i] = d.any(item, &Path{above: path, index: i, free: true}, depth+1)
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
					d.at(n, path, "must be finite: it is passed on as JSON, which has no "+n.Value)
					return nil
				}
				return v
			}
		case "!!str", "!!timestamp":
			return n.Value
		}
	}
	d.at(n, path, "cannot be "+kind(n))
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
