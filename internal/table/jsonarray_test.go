package table_test

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/pynomaly/pynomaly-runtime/internal/table"
)

// TestJSONArray: a file that is one array of rows is read as one, and written as one.
func TestJSONArray(t *testing.T) {
	s := schema(t, "{name: s, dtype: string}")
	for name, c := range map[string]struct {
		in   string
		want []string // in the elements of the output
		err  string
	}{
		"named":             {`[{"s":"a"}, {"s":"b"}]`, []string{`"score":0`, `"score":1`}, ""},
		"over lines":        {"\n [\n {\"s\":\n\"a\"}\n,\n[\"b\"]\n]\n\n", []string{`"score":0`, `"score":1`}, ""},
		"under data":        {`[{"id":1,"data":{"s":"a"}}]`, []string{`"score":0`}, ""},
		"brackets in texts": {`[{"s":"]},{\"\\"},{"s":"\\\""}]`, []string{`"score":0`, `"score":1`}, ""},
		"a bad row":         {`[{"s":1},{"s":"a"},{"s":NaN},{"s" 1},{"s":"b"}]`, []string{"is a number", `"score":1`, "NaN", "a colon", `"score":4`}, ""},
		"a comma too many":  {`[{"s":"a"},]`, []string{`"score":0`, "the text ends"}, ""},
		"none":              {"[ ]\n", []string{}, ""},
		"a mark before it":  {"\uFEFF[{\"s\":\"a\"}]", []string{`"score":0`}, ""},
		"no end":            {`[{"s":"a"},`, nil, "the array has no end"},
		"more behind it":    {`[{"s":"` + strings.Repeat("a", 10_000) + `"}] {"s":"b"}`, nil, "stands behind the array"},
	} {
		t.Run(name, func(t *testing.T) {
			for format, in := range map[string]io.Reader{table.JSON: strings.NewReader(c.in), table.NDJSON: iotest.OneByteReader(strings.NewReader(c.in))} {
				got, err := pass(format, in, s, table.Options{}, 2)
				if c.err != "" {
					if err == nil || !strings.Contains(err.Error(), c.err) {
						t.Errorf("%v; want %s", err, c.err)
					}
					continue
				}
				var out []json.RawMessage
				if err != nil || json.Unmarshal([]byte(got), &out) != nil || len(out) != len(c.want) {
					t.Fatalf("%q, %v; want %d rows", got, err, len(c.want))
				}
				for i, want := range c.want {
					if !strings.Contains(string(out[i]), want) {
						t.Errorf("row %d is %s; want %s in it", i, out[i], want)
					}
				}
			}
		})
	}
}

// TestArraysInLines: lines that are rows of values are no array of rows, even if the first
// value is not what it should be.
func TestArraysInLines(t *testing.T) {
	for _, c := range []struct {
		in     string
		failed int
	}{
		{"\uFEFF[\"a\"]\n[\"b\"]\n", 0},
		{"[[]]\n[\"b\"]\n", 1},
		{"\n[{\"]\":[1,2]}]\r\n\n[\"b\"]", 1},
	} {
		got, err := pass(table.NDJSON, strings.NewReader(c.in), schema(t, "{name: s, dtype: string}"), table.Options{}, 2)
		if err != nil || strings.Count(got, "\n") != 2 || strings.Count(got, "error") != c.failed {
			t.Errorf("%q, %v; want two rows, of which %d failed", got, err, c.failed)
		}
	}
}
