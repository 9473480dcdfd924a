package rows_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/jsonscan"
	"github.com/pynomaly/pynomaly-runtime/internal/rows"
)

// said returns what a decoder makes of a text with rows.
func said(s *rows.Schema, text string, columns int) string {
	d := s.NewDecoder()
	sc := &jsonscan.Scanner{Data: []byte(text)}
	var out strings.Builder
	for range 4 {
		if err := d.JSONRow(sc); err != nil {
			out.WriteString("malformed")
			break
		}
	}
	for i := range d.Batch().Rows() {
		for j := range columns {
			fmt.Fprintf(&out, " %v", d.Batch().Value(i, j))
		}
	}
	for _, f := range d.Failed() {
		fmt.Fprintf(&out, "; row %d %s %s", f.Row, f.Field, f.Reason)
	}
	return out.String()
}

// FuzzPlainRows compares rows of numbers with the same rows of a model that has a text as
// well, which are read value by value.
func FuzzPlainRows(f *testing.F) {
	for _, text := range []string{
		`{"a":1.5,"b":-2,"c":0.25}{"a":1,"b":2,"c":3}`, `{"b":1,"a":2,"c":3}{"b":1, "a":2, "c":3}`, `{"a":1,"a":2,"c":3}`, `{"a":1,"b":2}`, `{"a":1,"b":2,"c":3,"d":4}`,
		`{ "a" : 1 , "b":2,"c":3}`, `{"a":1e5,"b":2,"c":16777217.5}`, `{"a":null,"b":2,"c":3}`, `{"a":1,"b":02,"c":3}`, `{"a":1,"b":2,"c":3,}`, `{"a":1 ,"b":2 ,"c":3 }`, `{}`, `{"a":1,,"b":2}`, `{"a":1"b":2}`, `{"a":1.,"b":2,"c":3}`,
	} {
		f.Add(text)
	}
	const numbers = "{name: a, dtype: float32}, {name: b, dtype: float32}, {name: c, dtype: float32}"
	plain, mixed := schema(f, numbers), schema(f, numbers+`, {name: z, dtype: string, missing: ""}`)
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsAny(text, "zZ") { // a key that the other schema knows, or would suggest
			return
		}
		text += strings.Repeat(" ", 30)
		got := strings.ReplaceAll(said(plain, text, 3), "3 features", "4 features")
		if want := strings.ReplaceAll(said(mixed, text, 3), ", z", ""); got != want && !strings.Contains(text, "[") {
			t.Errorf("%q\ngot  %s\nwant %s", text, got, want)
		}
	})
}

// TestPlainArrays compares arrays with the same arrays with more white space, which are
// read value by value.
func TestPlainArrays(t *testing.T) {
	s := schema(t, "{name: a, dtype: float64}, {name: b, dtype: float64}, {name: c, dtype: float64}")
	for _, text := range []string{
		"[1.5,-2,0.25]", "[1,2]", "[1,2,3,4]", "[]", "[1,,2]", "[1,2,3,]", "[1,2,3", "[1e5,2,123456789012]", "[01,2,3]", "[-0,0.1,1.]", "[1,null,3]", `[1,"2",3]`, "[true,2,3]", "[1,2,3}",
		"[0.1234567,12345678.1234567,99999999.9999999]", "[NaN,1,2]", "[-,1,2]",
	} {
		end := strings.Repeat(" ", 30)
		spaced := strings.NewReplacer("[", "[  ", ",", "  ,  ", "]", "  ]").Replace(text)
		got, want := said(s, text+end, 3), said(s, spaced+end, 3)
		if got != want {
			t.Errorf("%s\ngot  %s\nwant %s", text, got, want)
		}
	}
}
