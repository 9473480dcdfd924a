// Package rows turns rows as clients write them (JSON, CSV, Parquet) into the
// typed batch that a model takes, following the manifest's rules for missing
// and unknown features.
//
// A value that cannot be taken fails its row, never its neighbours. Requests,
// with their other members, are read by package api/rest.
package rows

import (
	"fmt"
	"math"

	"github.com/pynomaly/pynomaly-runtime/internal/nearest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// MaxStringBytes bounds the value of a string feature.
const MaxStringBytes = 64 << 10

// Schema is what a model says about its rows.
type Schema struct {
	features      []sdk.Feature
	missing       []manifest.Missing
	ignoreUnknown bool
	index         map[string]int
	quoted        [][]byte // the key as it stands in JSON; nil where it needs escapes
	names         []string
}

// NewSchema returns the schema of a manifest's features.
func NewSchema(m *manifest.Manifest) *Schema {
	s := &Schema{features: m.SDKFeatures(), ignoreUnknown: m.IgnoreUnknown, index: map[string]int{}}
	for j, f := range m.Features {
		s.missing = append(s.missing, f.Missing)
		s.names = append(s.names, f.Name)
		s.index[f.Name] = j
		s.quoted = append(s.quoted, quote(f.Name))
	}
	return s
}

// quote returns name in double quotes, or nil where that would need escapes.
func quote(name string) []byte {
	for i := range len(name) {
		if name[i] < ' ' || name[i] == '"' || name[i] == '\\' {
			return nil
		}
	}
	return []byte(`"` + name + `"`)
}

// Features are the columns, in order.
func (s *Schema) Features() []sdk.Feature { return s.features }

// Index finds a feature by name.
func (s *Schema) Index(name string) (int, bool) {
	j, ok := s.index[name]
	return j, ok
}

// unknown is the reason for refusing a key.
func (s *Schema) unknown(key string) string {
	return "is no feature of this model" + nearest.Hint(key, s.names)
}

// Decoder collects rows into a batch. It is reused with Reset, by one goroutine
// at a time.
type Decoder struct {
	schema  *Schema
	batch   *sdk.Batch
	failed  []sdk.RowError
	total   int      // rows begun
	stamp   []uint32 // stamp[j] == turn: feature j was given in this row
	turn    uint32
	order   []int // the feature that came k-th in the last row
	scratch []byte
	bad     sdk.RowError // first problem of the row
	isBad   bool
}

// NewDecoder returns an empty decoder.
func (s *Schema) NewDecoder() *Decoder {
	d := &Decoder{schema: s, batch: sdk.NewBatch(s.features), stamp: make([]uint32, len(s.features))}
	d.order = make([]int, len(s.features))
	d.Reset()
	return d
}

// Reset forgets all rows and keeps the memory.
func (d *Decoder) Reset() {
	d.batch.Resize(0)
	d.failed, d.total = d.failed[:0], 0
	for j := range d.order {
		d.order[j] = j
	}
}

// Batch holds the rows that could be read, in order.
func (d *Decoder) Batch() *sdk.Batch { return d.batch }

// Failed holds one error for each row that could not be read; Row counts all
// rows received, from 0.
func (d *Decoder) Failed() []sdk.RowError { return d.failed }

// Total is the number of rows received, failed ones included.
func (d *Decoder) Total() int { return d.total }

// begin starts a row at the end of the batch.
func (d *Decoder) begin() {
	d.batch.Resize(d.batch.Rows() + 1)
	d.isBad = false
	d.turn++
	if d.turn == 0 { // wrapped: the old stamps could match again
		clear(d.stamp)
		d.turn = 1
	}
}

// fail records why the row cannot be used; the first reason stays.
func (d *Decoder) fail(field, format string, args ...any) {
	if !d.isBad {
		d.isBad = true
		d.bad = sdk.RowError{Row: d.total, Field: field, Reason: fmt.Sprintf(format, args...)}
	}
}

// end fills in what is missing and keeps or drops the row; given is how many
// features it had.
func (d *Decoder) end(given int) {
	if given < len(d.schema.features) && !d.isBad {
		for j, at := range d.stamp {
			if at != d.turn {
				d.fillMissing(j)
			}
		}
	}
	if d.isBad {
		d.failed = append(d.failed, d.bad)
		d.batch.Resize(d.batch.Rows() - 1)
	}
	d.total++
}

// fillMissing applies the manifest's rule for a feature that was not given or
// null.
func (d *Decoder) fillMissing(j int) {
	f, rule := d.schema.features[j], d.schema.missing[j]
	value := rule.Value
	switch {
	case rule.Policy == manifest.MissingIsError:
		d.fail(f.Name, "is missing: give it a value")
		return
	case rule.Policy == manifest.MissingIsNaN && f.DType == sdk.Float32:
		value = float32(math.NaN())
	case rule.Policy == manifest.MissingIsNaN:
		value = math.NaN()
	}
	if err := d.batch.SetValue(d.batch.Rows()-1, j, value); err != nil {
		d.fail(f.Name, "%v", err)
	}
}
