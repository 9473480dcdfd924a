package table

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// FuzzCSVText checks that records are written as package encoding/csv writes them.
func FuzzCSVText(f *testing.F) {
	for _, s := range []string{"a", "", " x", "\tx", "\u00a0x", "\u2003x", `\.`, "a,b", "a;b", `say "hi"`, "two\nlines", "x\r", "\xff\xfe", "\u00e9", "true", "1.5e-7"} {
		f.Add(s, "b", byte(','), 0.5, true)
		f.Add(s, `"`, byte(';'), -1e-9, false)
		f.Add(s, "0", byte('e'), 1e21, true)
		f.Add(s, "é", byte(0xe9), 12.5, true)
		f.Add(s, "t", byte('1'), 100.0, false)
	}
	f.Fuzz(func(t *testing.T, one, two string, comma byte, v float64, anomaly bool) {
		text := newCSVText(comma, 1)
		var want bytes.Buffer
		w := csv.NewWriter(&want)
		w.Comma = rune(comma)
		got, err := text.header([]string{one, two})
		if werr := w.Write([]string{one, two}); (err == nil) != (werr == nil) {
			t.Fatalf("%q: %v; encoding/csv says %v", comma, err, werr)
		}
		if err != nil {
			return
		}
		if math.IsNaN(v) || math.IsInf(v, 0) {
			v = 1
		}
		a := Answer{Prediction: v, Score: v / 3, Confidence: &v, Anomaly: &anomaly}
		got = text.answer(text.field(text.delimiter(text.field(got, one)), two), &a)
		_ = w.Write([]string{one, two, formatted(v), formatted(v / 3), strconv.FormatBool(anomaly), formatted(v), "", ""})
		got = text.answer(text.field(got, two), &Answer{Error: "e" + one})
		_ = w.Write([]string{two, "", "", "", "", "e" + one, ""})
		w.Flush()
		if !bytes.Equal(got, want.Bytes()) {
			t.Fatalf("%q; encoding/csv writes %q", got, want.Bytes())
		}
		number, err := json.Marshal(v)
		if err != nil || string(appendJSONNumber(nil, v)) != string(number) {
			t.Fatalf("%s; encoding/json writes %s, %v", appendJSONNumber(nil, v), number, err)
		}
	})
}

func formatted(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// FuzzLines checks that lines are read as their fields are, one by one, and written as
// package encoding/csv writes these.
func FuzzLines(f *testing.F) {
	for _, s := range []string{
		"1,2.5,-3", "0.12345678,1e5,12345678.1234567", "1,,3", " 1,2 ,3", "1,2", "1,2,3,4", "007,+1,.5", "1,\"2\",3", "1,NA,3",
		"1,2,3\r\n4,5,6", "1\r,2,3", "1.5.2,3,4", "123456789,2,3", "1,2,0.123456789", "-,1,2", "1,2,-0", "x,2,3\n1,2,3\n", "1,2,3,\n", "\\.,1,2", "\u00a01,2,3",
	} {
		f.Add(s, byte(','), "float32", false)
		f.Add(strings.ReplaceAll(s, ",", ";"), byte(';'), "float64", true)
		f.Add(strings.ReplaceAll(s, ",", "5"), byte('5'), "float64", false)
	}
	f.Fuzz(func(t *testing.T, text string, comma byte, dtype string, extra bool) {
		last := "c"
		if extra {
			last = "x"
		}
		m, err := manifest.Decode([]byte(fmt.Sprintf("apiVersion: pynomaly.io/v1\nkind: Model\nid: m\nversion: 1.0.0\nartifact: a\nfeatures: [{name: a, dtype: %[1]s}, {name: b, dtype: %[1]s}, {name: %[2]s, dtype: %[1]s}]\n", dtype, last)))
		if err != nil || comma >= 128 || strings.IndexByte("abcx\"\r\n\x00", comma) >= 0 {
			return
		}
		s := rows.NewSchema(m)
		sep := string([]byte{comma})
		header := "a" + sep + "b" + sep + last
		if extra {
			header = "a" + sep + "y" + sep + "b" + sep + "x"
		}
		var out, want bytes.Buffer
		tab, err := Open(CSV, strings.NewReader(header+"\n"+text), &out, s, Options{Extra: extra, Delimiter: comma})
		if err != nil {
			t.Skip(err)
		}
		got, one := s.NewDecoder(), s.NewDecoder()
		n, err := tab.Read(got, math.MaxInt)
		if err == nil {
			for i := range n {
				if err := tab.Write(i, Answer{Score: 1}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := tab.Close(); err != nil {
			t.Fatal(err)
		}
		to := tab.rowFormat.(*csvTable).to
		w := csv.NewWriter(&want)
		w.Comma = rune(comma)
		r := newRecords(strings.NewReader(header+"\n"+text), comma)
		r.fields = len(to)
		for first := true; ; first = false {
			record, err := r.next()
			switch {
			case err != nil && err.Error() == "EOF":
				w.Flush()
				compareRead(t, got, one)
				if out.String() != want.String() {
					t.Fatalf("written %q, want %q", out.String(), want.String())
				}
				return
			case first:
				_ = w.Write(append(record, "prediction", "score", "is_anomaly", "confidence", "error"))
				continue
			case err == nil && len(record) == 0:
				continue
			}
			one.Begin()
			switch {
			case err != nil:
				one.Reject(err.Error())
			case len(record) != len(to):
				one.Reject(fmt.Sprintf("the line has %d fields; the header has %d", len(record), len(to)))
			default:
				for k, j := range to {
					if j >= 0 {
						one.Text(j, record[k])
					}
				}
			}
			one.End()
			full := make([]string, len(to))
			copy(full, record)
			_ = w.Write(append(full, "0", "1", "", "", ""))
		}
	})
}

func compareRead(t *testing.T, got, want *rows.Decoder) {
	t.Helper()
	if fmt.Sprint(got.Failed()) != fmt.Sprint(want.Failed()) || got.Batch().Rows() != want.Batch().Rows() {
		t.Fatalf("%d rows, failed %v; want %d, %v", got.Batch().Rows(), got.Failed(), want.Batch().Rows(), want.Failed())
	}
	for i := range got.Batch().Rows() {
		for j := range got.Batch().Features() {
			if a, b := fmt.Sprint(got.Batch().Value(i, j)), fmt.Sprint(want.Batch().Value(i, j)); a != b {
				t.Fatalf("row %d, feature %d is %v, want %v", i, j, a, b)
			}
		}
	}
}
