package table

import (
	"bufio"
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
	out  *bufio.Writer
	text csvText
}

func newCSVSink(out io.Writer, delimiter byte) *csvSink {
	if delimiter == 0 {
		delimiter = ','
	}
	return &csvSink{out: bufio.NewWriter(out), text: csvText{comma: delimiter}}
}

func (s *csvSink) begin(columns []column, extra added) error {
	s.text = newCSVText(s.text.comma, len(extra.contributions))
	var names []string
	for _, c := range columns {
		names = append(names, c.name)
	}
	first, err := s.text.header(append(names, extra.columns()...))
	if err != nil {
		return err
	}
	_, _ = s.out.Write(first) // an error stays for what is written next
	return nil
}

func (s *csvSink) encode(to *encoded, values []any, a *Answer) {
	for i, v := range values {
		if i > 0 {
			to.text = s.text.delimiter(to.text)
		}
		to.text = s.text.field(to.text, plainText(v))
	}
	to.text = s.text.answer(to.text, a)
}

func (s *csvSink) put(rows *encoded) error { return writeRows(s.out, rows.text) }

func (s *csvSink) close() error { return flush(s.out) }

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

func (s *jsonSink) encode(to *encoded, values []any, a *Answer) {
	b := to.text
	if s.array {
		b = append(b, ',')
	}
	b = append(b, `{"data":{`...)
	first := true
	for i, v := range values {
		if s.columns[i].feature < 0 {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(append(b, s.keys[i]...), jsonText(v)...)
	}
	b = append(b, '}')
	for i, v := range values {
		if s.columns[i].feature < 0 {
			b = append(append(append(b, ','), s.keys[i]...), jsonText(v)...)
		}
	}
	to.text = appendJSONAnswer(b, s.answers, s.schema.Names(), a)
}

func (s *jsonSink) put(rows *encoded) error { return putJSON(s.out, s.array, &s.written, rows.text) }

func (s *jsonSink) close() error { return endJSON(s.out, s.array, s.written) }

// endJSON writes what is left of rows.
func endJSON(out *bufio.Writer, array, written bool) error {
	if array {
		end := "]\n"
		if !written {
			end = "[]\n"
		}
		_, _ = out.WriteString(end) // Flush tells the error
	}
	return flush(out)
}

// appendJSONAnswer ends a row. names are what stands before the values of an answer.
func appendJSONAnswer(b []byte, names, features []string, a *Answer) []byte {
	if a.Error != "" {
		return append(append(append(b, names[colError]...), quote(a.Error)...), "}\n"...)
	}
	b = appendJSONNumber(append(b, names[colPrediction]...), a.Prediction)
	b = appendJSONNumber(append(b, names[colScore]...), a.Score)
	if a.Anomaly != nil {
		b = strconv.AppendBool(append(b, names[colAnomaly]...), *a.Anomaly)
	}
	if a.Confidence != nil {
		b = appendJSONNumber(append(b, names[colConfidence]...), *a.Confidence)
	}
	if a.Explanation != nil {
		b = append(append(b, names[colExplanation]...), explanationText(features, a.Explanation)...)
	}
	return append(b, "}\n"...)
}

// jsonNumber returns a number as package encoding/json writes it.
func jsonNumber(v float64) string { return string(appendJSONNumber(nil, v)) }

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
	out     *parquetOutput
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
	s.out = newParquetOutput(s.to, &group)
	return nil
}

// node returns the type of a column.
func (s *parquetSink) node(c column) parquet.Node {
	switch s.dtype(c) {
	case sdk.Float32:
		return leaf(parquet.FloatType)
	case sdk.Float64:
		return leaf(parquet.DoubleType)
	case sdk.Int64:
		return leaf(parquet.Int64Type)
	case sdk.Bool:
		return leaf(parquet.BooleanType)
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

func (s *parquetSink) encode(to *encoded, values []any, a *Answer) {
	to.columns.fit(len(s.columns) + answerColumns + s.explain)
	for i, v := range values {
		value, ok := s.value(to.cells, v, s.columns[i])
		to.columns.add(i, value, ok)
	}
	to.columns.answer(len(values), a, s.explain)
}

func (s *parquetSink) put(rows *encoded) (err error) {
	defer rescue(&err)
	return s.out.write(rows.columns, rows.rows)
}

// value returns a value in the type of a column, or false if it is not one.
func (s *parquetSink) value(cells *rows.Decoder, v any, c column) (parquet.Value, bool) {
	if v == nil {
		return parquet.Value{}, false
	}
	dtype := s.dtype(c)
	if dtype == sdk.String {
		return parquet.ByteArrayValue([]byte(plainText(v))), true
	}
	if _, unread := v.(string); unread {
		return parquet.Value{}, false
	}
	if value, ok := parquetValue(v, dtype); ok {
		return value, true
	}
	read, _ := cells.Cell(c.feature, plainText(v))
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
	return s.out.close()
}

// addAnswers adds the columns of answers to a group.
func addAnswers(group *ordered, names []string) {
	for i, name := range names {
		node := leaf(parquet.DoubleType)
		switch i {
		case colAnomaly:
			node = leaf(parquet.BooleanType)
		case colError:
			node = parquet.String()
		}
		group.add(name, parquet.Optional(node))
	}
}
