// Package rows converts rows as clients write them (JSON, CSV, Parquet) into the
// typed batch that a model takes, by the manifest's rules for missing and unknown
// features.
//
// A value that cannot be used fails its row and no other row. Package api/rest reads
// requests with their other members.
package rows

import (
	"fmt"
	"math"

	"github.com/pynomaly/pynomaly-runtime/internal/nearest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// MaxStringBytes is the largest size of a string feature's value.
const MaxStringBytes = 64 << 10

// Schema describes the rows of a model.
type Schema struct {
	features      []sdk.Feature
	missing       []manifest.Missing
	ignoreUnknown bool
	index         map[string]int
	quoted        [][]byte // the key in JSON; nil if it needs escapes
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

// quote returns name in double quotes, or nil if it would need escapes.
func quote(name string) []byte {
	for i := range len(name) {
		if name[i] < ' ' || name[i] == '"' || name[i] == '\\' {
			return nil
		}
	}
	return []byte(`"` + name + `"`)
}

// Features returns the columns, in order.
func (s *Schema) Features() []sdk.Feature { return s.features }

// Index returns the index of a feature.
func (s *Schema) Index(name string) (int, bool) {
	j, ok := s.index[name]
	return j, ok
}

// Required reports whether every row must give feature j.
func (s *Schema) Required(j int) bool { return s.missing[j].Policy == manifest.MissingIsError }

// unknown returns the reason for refusing a key.
func (s *Schema) unknown(key string) string {
	return "is no feature of this model" + nearest.Hint(key, s.names)
}

// Decoder collects rows into a batch. Reset prepares it for reuse. Only one
// goroutine at a time may use it.
type Decoder struct {
	schema  *Schema
	batch   *sdk.Batch
	failed  []sdk.RowError
	total   int      // rows begun
	stamp   []uint32 // stamp[j] == turn: feature j was given in this row
	turn    uint32
	order   []int // the k-th feature of the last row
	scratch []byte
	ignore  bool         // unknown features are ignored
	missing []string     // texts that mean missing; nil: MissingWords
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

// Reset drops all rows and keeps the memory.
func (d *Decoder) Reset() {
	d.batch.Resize(0)
	d.failed, d.total = d.failed[:0], 0
	for j := range d.order {
		d.order[j] = j
	}
}

// Batch returns the rows that could be read, in order. It is valid until Reset.
func (d *Decoder) Batch() *sdk.Batch { return d.batch }

// Failed returns an error for each row that could not be read. Row counts all
// received rows, from 0.
func (d *Decoder) Failed() []sdk.RowError { return d.failed }

// Total returns the number of received rows, including failed ones.
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

// fail records why the row cannot be used, unless a reason is recorded already.
func (d *Decoder) fail(field, format string, args ...any) {
	if !d.isBad {
		d.isBad = true
		d.bad = sdk.RowError{Row: d.total, Field: field, Reason: fmt.Sprintf(format, args...)}
	}
}

// end fills in missing features, and keeps or drops the row. given is the number of
// features that the row had.
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

// MissingReason is the reason of a row that lacks a value which every row must have.
const MissingReason = "is missing: give it a value"

// fillMissing applies the manifest's rule for a feature that is missing or null.
func (d *Decoder) fillMissing(j int) {
	f, rule := d.schema.features[j], d.schema.missing[j]
	value := rule.Value
	switch {
	case rule.Policy == manifest.MissingIsError:
		d.fail(f.Name, MissingReason)
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
