package table

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// csvSink writes CSV.
type csvSink struct {
	out     *csv.Writer
	record  []string
	explain int // columns of an explanation
}

func newCSVSink(out io.Writer, delimiter byte) *csvSink {
	s := &csvSink{out: csv.NewWriter(out)}
	if delimiter != 0 {
		s.out.Comma = rune(delimiter)
	}
	return s
}

func (s *csvSink) begin(columns []column, extra added) error {
	s.explain = len(extra.contributions)
	var names []string
	for _, c := range columns {
		names = append(names, c.name)
	}
	if err := s.out.Write(append(names, extra.columns()...)); err != nil {
		return fmt.Errorf("writing the header: %w", err)
	}
	return nil
}

func (s *csvSink) write(values []any, a Answer) error {
	s.record = s.record[:0]
	for _, v := range values {
		s.record = append(s.record, plainText(v))
	}
	s.record = appendTexts(s.record, a, s.explain)
	if err := s.out.Write(s.record); err != nil {
		return fmt.Errorf("writing a row: %w", err)
	}
	return nil
}

func (s *csvSink) close() error { return flush(s.out) }

// flush writes what is left of CSV.
func flush(out *csv.Writer) error {
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("writing the file: %w", err)
	}
	return nil
}

// jsonSink writes NDJSON or a JSON array: features in "data", and other columns beside it.
type jsonSink struct {
	out     *bufio.Writer
	array   bool
	written bool
	columns []column
	keys    []string // of the columns, as JSON
	answers []string // as added.quoted returns them
	schema  *rows.Schema
}

func newJSONSink(out io.Writer, array bool, s *rows.Schema) *jsonSink {
	return &jsonSink{out: bufio.NewWriter(out), array: array, schema: s}
}

func (s *jsonSink) begin(columns []column, extra added) error {
	s.columns = columns
	for _, c := range columns {
		s.keys = append(s.keys, quote(c.name)+":")
	}
	s.answers = extra.quoted()
	return nil
}

func (s *jsonSink) write(values []any, a Answer) error {
	separate(s.out, s.array, &s.written)
	_, _ = s.out.WriteString(`{"data":{`) // an error stays for what is written last
	first := true
	for i, v := range values {
		if s.columns[i].feature < 0 {
			continue
		}
		if !first {
			_ = s.out.WriteByte(',')
		}
		first = false
		_, _ = s.out.WriteString(s.keys[i] + jsonText(v))
	}
	_ = s.out.WriteByte('}')
	for i, v := range values {
		if s.columns[i].feature < 0 {
			_, _ = s.out.WriteString("," + s.keys[i] + jsonText(v))
		}
	}
	return writeAnswer(s.out, s.answers, s.schema.Names(), a)
}

func (s *jsonSink) close() error { return endJSON(s.out, s.array, s.written) }

// separate writes what stands between the rows of an array.
func separate(out *bufio.Writer, array bool, written *bool) {
	separator := byte(',')
	if !*written {
		separator = '['
	}
	*written = true
	if array {
		_ = out.WriteByte(separator) // an error stays for what is written next
	}
}

// endJSON writes what is left of rows.
func endJSON(out *bufio.Writer, array, written bool) error {
	if array {
		end := "]\n"
		if !written {
			end = "[]\n"
		}
		_, _ = out.WriteString(end) // Flush tells the error
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing the file: %w", err)
	}
	return nil
}

// writeAnswer ends a row. names are what stands before the values of an answer.
func writeAnswer(out *bufio.Writer, names, features []string, a Answer) error {
	member := func(i int, text string) {
		_, _ = out.WriteString(names[i])
		_, _ = out.WriteString(text)
	}
	if a.Error != "" {
		member(colError, quote(a.Error))
	} else {
		member(colPrediction, jsonNumber(a.Prediction))
		member(colScore, jsonNumber(a.Score))
		if a.Anomaly != nil {
			member(colAnomaly, truth(a.Anomaly))
		}
		if a.Confidence != nil {
			member(colConfidence, jsonNumber(*a.Confidence))
		}
		if a.Explanation != nil {
			member(colExplanation, explanationText(features, a.Explanation))
		}
	}
	if _, err := out.WriteString("}\n"); err != nil {
		return fmt.Errorf("writing a row: %w", err)
	}
	return nil
}

// explanationText returns an explanation as JSON has it.
func explanationText(features []string, e *Explanation) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"method":%s,"base_value":%s,"additive":%t,"residual":%s,"contributions":[`, quote(e.Method), jsonNumber(e.BaseValue), e.Additive, jsonNumber(e.Residual))
	for j, v := range e.Contributions {
		if j > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"feature":%s,"contribution":%s}`, quote(features[j]), jsonNumber(v))
	}
	b.WriteString("]}")
	return b.String()
}

// jsonText returns a value as JSON has it. Numbers that JSON does not have are null.
func jsonText(v any) string {
	switch x := v.(type) {
	case nil:
		return "null"
	case string:
		return quote(x)
	case json.Number:
		return string(x)
	case json.RawMessage:
		return string(x)
	case float32:
		if f := float64(x); math.IsNaN(f) || math.IsInf(f, 0) {
			return "null"
		}
		return strconv.FormatFloat(float64(x), 'g', -1, 32)
	case float64:
		return jsonNumber(x)
	}
	return plainText(v)
}

// parquetSink writes Parquet: features in their types, and other columns as texts.
type parquetSink struct {
	to      io.Writer
	schema  *rows.Schema
	columns []column
	out     *parquet.GenericWriter[any]
	row     [1]parquet.Row
	explain int // columns of an explanation
}

func newParquetSink(out io.Writer, s *rows.Schema) *parquetSink {
	return &parquetSink{to: out, schema: s}
}

func (s *parquetSink) begin(columns []column, extra added) (err error) {
	defer rescue(&err)
	s.explain = len(extra.contributions)
	s.columns = columns
	group := ordered{Group: parquet.Group{}}
	for _, c := range columns {
		group.add(c.name, parquet.Optional(s.node(c)))
	}
	addAnswers(&group, extra.columns())
	s.out = parquet.NewGenericWriter[any](s.to, parquet.NewSchema("predictions", group), parquet.MaxRowsPerRowGroup(rowGroup), parquet.Compression(&parquet.Zstd))
	return nil
}

// node returns the type of a column.
func (s *parquetSink) node(c column) parquet.Node {
	switch s.dtype(c) {
	case sdk.Float32:
		return parquet.Leaf(parquet.FloatType)
	case sdk.Float64:
		return parquet.Leaf(parquet.DoubleType)
	case sdk.Int64:
		return parquet.Leaf(parquet.Int64Type)
	case sdk.Bool:
		return parquet.Leaf(parquet.BooleanType)
	default:
		return parquet.String()
	}
}

func (s *parquetSink) dtype(c column) sdk.DType {
	if c.feature < 0 {
		return sdk.String
	}
	return s.schema.Features()[c.feature].DType
}

func (s *parquetSink) write(values []any, a Answer) (err error) {
	defer rescue(&err)
	row := make(parquet.Row, 0, len(values)+colError+1)
	for i, v := range values {
		if value, ok := s.value(v, s.dtype(s.columns[i])); ok {
			row = append(row, value.Level(0, 1, i))
		} else {
			row = append(row, parquet.NullValue().Level(0, 0, i))
		}
	}
	s.row[0] = appendAnswer(row, len(values), a, s.explain)
	if _, err := s.out.WriteRows(s.row[:]); err != nil {
		return fmt.Errorf("writing a row: %w", err)
	}
	return nil
}

// value returns a value of a type, or false if v is not one.
func (s *parquetSink) value(v any, dtype sdk.DType) (parquet.Value, bool) {
	if v == nil {
		return parquet.Value{}, false
	}
	if dtype == sdk.String {
		return parquet.ByteArrayValue([]byte(plainText(v))), true
	}
	if _, unread := v.(string); unread {
		return parquet.Value{}, false
	}
	if value, ok := parquetValue(v, dtype); ok {
		return value, true
	}
	read, _ := loosely(plainText(v), dtype)
	return parquetValue(read, dtype)
}

// parquetValue returns a value that has the type, and that is not NaN.
func parquetValue(v any, dtype sdk.DType) (parquet.Value, bool) {
	switch x := v.(type) {
	case float32:
		return parquet.FloatValue(x), dtype == sdk.Float32 && !math.IsNaN(float64(x))
	case float64:
		return parquet.DoubleValue(x), dtype == sdk.Float64 && !math.IsNaN(x)
	case int64:
		return parquet.Int64Value(x), dtype == sdk.Int64
	case bool:
		return parquet.BooleanValue(x), dtype == sdk.Bool
	}
	return parquet.Value{}, false
}

func (s *parquetSink) close() (err error) {
	defer rescue(&err)
	if err := s.out.Close(); err != nil {
		return fmt.Errorf("writing the parquet file: %w", err)
	}
	return nil
}

// addAnswers adds the columns of answers to a group.
func addAnswers(group *ordered, names []string) {
	for i, name := range names {
		node := parquet.Leaf(parquet.DoubleType)
		switch i {
		case colAnomaly:
			node = parquet.Leaf(parquet.BooleanType)
		case colError:
			node = parquet.String()
		}
		group.add(name, parquet.Optional(node))
	}
}

// appendAnswer appends an answer to a row that has the given number of leaves, with the
// given number of columns of an explanation.
func appendAnswer(row parquet.Row, leaves int, a Answer, explain int) parquet.Row {
	add := func(v parquet.Value, given bool) {
		if given {
			row = append(row, v.Level(0, 1, leaves))
		} else {
			row = append(row, parquet.NullValue().Level(0, 0, leaves))
		}
		leaves++
	}
	scored := a.Error == ""
	add(parquet.DoubleValue(a.Prediction), scored)
	add(parquet.DoubleValue(a.Score), scored)
	add(parquet.BooleanValue(a.Anomaly != nil && *a.Anomaly), scored && a.Anomaly != nil)
	confidence := 0.0
	if a.Confidence != nil {
		confidence = *a.Confidence
	}
	add(parquet.DoubleValue(confidence), scored && a.Confidence != nil)
	add(parquet.ByteArrayValue([]byte(a.Error)), !scored)
	parts := a.contributions()
	for i := range explain {
		if i < len(parts) {
			add(parquet.DoubleValue(parts[i]), true)
		} else {
			add(parquet.Value{}, false)
		}
	}
	return row
}
