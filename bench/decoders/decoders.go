// Package decoders compares ways to decode the JSON of a request into a matrix: how
// fast each is, and whether it accepts exactly what RFC 8259 allows.
//
// The host uses the package internal/rows on internal/jsonscan. The other decoders
// are here only for comparison.
package decoders

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/bytedance/sonic/ast"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/minio/simdjson-go"

	"github.com/pynomaly/pynomaly-runtime/internal/jsonscan"
	"github.com/pynomaly/pynomaly-runtime/internal/rows"
)

var errShape = errors.New("not an array of objects with known features")

// Matrix is the result of decoding: row-major float32 of known features.
type Matrix struct {
	Width  int
	Index  map[string]int
	Values []float32
	seen   []bool
	given  int
}

func (m *Matrix) reset() { m.Values = m.Values[:0] }

func (m *Matrix) begin() {
	m.Values = append(m.Values, make([]float32, m.Width)...)
	if m.seen == nil {
		m.seen = make([]bool, m.Width)
	}
	clear(m.seen)
	m.given = 0
}

// put stores a value. It refuses unknown and repeated features, as the host does.
func (m *Matrix) put(j int, v float32) error {
	if m.seen[j] {
		return errShape
	}
	m.seen[j] = true
	m.given++
	m.Values[len(m.Values)-m.Width+j] = v
	return nil
}

func (m *Matrix) end() error {
	if m.given != m.Width {
		return errShape
	}
	return nil
}

// Candidate decodes an array of objects into a matrix, and reports whether a text is
// valid JSON.
type Candidate struct {
	Name  string
	Rows  func(body []byte, m *Matrix) error
	Valid func(text []byte) bool
}

// Candidates returns all candidates. own is the host's decoder for the schema.
func Candidates(own *rows.Decoder) []Candidate {
	visitor := new(sonicVisitor)
	simd := new(simdjson.ParsedJson)
	return []Candidate{
		{"own scanner (internal/rows)", func(body []byte, m *Matrix) error { return ownRows(own, body, m) }, ownValid},
		{"sonic ast.Preorder visitor", visitor.rows, sonicValid},
		{"go-json-experiment jsontext", jsontextRows, jsontextValid},
		{"minio simdjson-go", func(body []byte, m *Matrix) error { return simdRows(simd, body, m) }, simdValid},
	}
}

func ownRows(d *rows.Decoder, body []byte, m *Matrix) error {
	d.Reset()
	s := &jsonscan.Scanner{Data: body}
	if err := d.JSONRows(s, 1<<20); err != nil {
		return err
	}
	if len(d.Failed()) > 0 {
		return errShape
	}
	m.Values = d.Batch().Float32s()
	return s.End()
}

func ownValid(text []byte) bool {
	s := &jsonscan.Scanner{Data: text}
	return s.Skip() == nil && s.End() == nil
}

// sonicVisitor implements ast.Visitor.
type sonicVisitor struct {
	m       *Matrix
	feature int
	depth   int
}

func (v *sonicVisitor) rows(body []byte, m *Matrix) error {
	m.reset()
	v.m, v.depth = m, 0
	return ast.Preorder(string(body), v, nil)
}

func (v *sonicVisitor) OnNull() error         { return errShape }
func (v *sonicVisitor) OnBool(bool) error     { return errShape }
func (v *sonicVisitor) OnString(string) error { return errShape }

// OnInt64 and OnFloat64 also receive the number's text: rounding the float64 again
// would not always give the nearest float32.
func (v *sonicVisitor) OnInt64(_ int64, n jsonNumber) error     { return v.number(n) }
func (v *sonicVisitor) OnFloat64(_ float64, n jsonNumber) error { return v.number(n) }

func (v *sonicVisitor) number(n jsonNumber) error {
	f, err := strconv.ParseFloat(string(n), 32)
	if err != nil || v.depth != 2 {
		return errShape
	}
	return v.m.put(v.feature, float32(f))
}

func (v *sonicVisitor) OnObjectBegin(int) error { v.depth++; v.m.begin(); return nil }

func (v *sonicVisitor) OnObjectKey(key string) error {
	j, ok := v.m.Index[key]
	if !ok {
		return errShape
	}
	v.feature = j
	return nil
}

func (v *sonicVisitor) OnObjectEnd() error     { v.depth--; return v.m.end() }
func (v *sonicVisitor) OnArrayBegin(int) error { v.depth++; return nil }
func (v *sonicVisitor) OnArrayEnd() error      { v.depth--; return nil }

// ignore accepts anything.
type ignore struct{}

func (ignore) OnNull() error                       { return nil }
func (ignore) OnBool(bool) error                   { return nil }
func (ignore) OnString(string) error               { return nil }
func (ignore) OnInt64(int64, jsonNumber) error     { return nil }
func (ignore) OnFloat64(float64, jsonNumber) error { return nil }
func (ignore) OnObjectBegin(int) error             { return nil }
func (ignore) OnObjectKey(string) error            { return nil }
func (ignore) OnObjectEnd() error                  { return nil }
func (ignore) OnArrayBegin(int) error              { return nil }
func (ignore) OnArrayEnd() error                   { return nil }

func sonicValid(text []byte) bool { return ast.Preorder(string(text), ignore{}, nil) == nil }

func jsontextRows(body []byte, m *Matrix) error {
	m.reset()
	d := jsontext.NewDecoder(bytes.NewBuffer(body))
	expect := func(k jsontext.Kind) error {
		t, err := d.ReadToken()
		if err == nil && t.Kind() != k {
			err = errShape
		}
		return err
	}
	if err := expect('['); err != nil {
		return err
	}
	for d.PeekKind() != ']' {
		if err := expect('{'); err != nil {
			return err
		}
		m.begin()
		for d.PeekKind() != '}' {
			name, err := d.ReadValue()
			if err != nil {
				return err
			}
			j, ok := m.Index[string(name[1:len(name)-1])] // the features need no escapes
			if !ok {
				return errShape
			}
			value, err := d.ReadValue()
			if err != nil {
				return err
			}
			if value.Kind() != '0' {
				return errShape
			}
			f, err := strconv.ParseFloat(string(value), 32)
			if err != nil {
				return fmt.Errorf("reading a number: %w", err)
			}
			if err := m.put(j, float32(f)); err != nil {
				return err
			}
		}
		if err := errors.Join(expect('}'), m.end()); err != nil {
			return err
		}
	}
	return expect(']')
}

func jsontextValid(text []byte) bool { return jsontext.Value(text).IsValid() }

func simdRows(reuse *simdjson.ParsedJson, body []byte, m *Matrix) error {
	m.reset()
	parsed, err := simdjson.Parse(body, reuse)
	if err != nil {
		return fmt.Errorf("parsing: %w", err)
	}
	root := parsed.Iter()
	if root.Advance() != simdjson.TypeRoot {
		return errShape
	}
	_, list, err := root.Root(nil)
	if err != nil {
		return fmt.Errorf("parsing: %w", err)
	}
	array, err := list.Array(nil)
	if err != nil {
		return errShape
	}
	var object simdjson.Object
	var value simdjson.Iter
	items := array.Iter()
	for items.Advance() == simdjson.TypeObject {
		if _, err := items.Object(&object); err != nil {
			return errShape
		}
		m.begin()
		for {
			name, kind, err := object.NextElementBytes(&value)
			if err != nil {
				return fmt.Errorf("reading a member: %w", err)
			}
			if kind == simdjson.TypeNone {
				break
			}
			j, ok := m.Index[string(name)]
			if !ok {
				return errShape
			}
			f, err := value.Float() // rounds twice: the number's text is not available
			if err != nil {
				return errShape
			}
			if err := m.put(j, float32(f)); err != nil {
				return err
			}
		}
		if err := m.end(); err != nil {
			return err
		}
	}
	return nil
}

func simdValid(text []byte) bool {
	_, err := simdjson.Parse(text, nil)
	return err == nil
}
