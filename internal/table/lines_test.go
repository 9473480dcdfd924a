package table

import (
	"encoding/csv"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	for text, want := range map[string][][]string{
		"a\n1\n2\n":           {{"a"}, {"1"}, {"2"}},
		"a\n1\n\n2":           {{"a"}, {"1"}, {blank}, {"2"}},
		"a\r\n\r\n2\r\n":      {{"a"}, {blank}, {"2"}},
		"\n\na\n1\n\n":        {{blank}, {blank}, {"a"}, {"1"}, {blank}},
		"a\n\"x\r\ny\"\n":     {{"a"}, {"x\r\ny"}},
		"a\n\"x\n\ny\"\n":     {{"a"}, {"x\n\ny"}},
		"a\n\"x\r\n\r\ny\"\n": {{"a"}, {"x\r\n\r\ny"}},
		"a\n\"x\"\"\r\ny\"\n": {{"a"}, {"x\"\r\ny"}},
		long + "\r\n\r\n":     {{long}, {blank}},
		"\"" + long + "\r\n" + long + "\"\r\n2\r\n": {{long + "\r\n" + long}, {"2"}},
	} {
		for _, in := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text))} {
			got, err := csv.NewReader(newLines(in)).ReadAll()
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%.40q: %.80q, %v; want %.80q", text, got, err, want)
			}
		}
	}
}

// FuzzLines checks that lines changes no records, except for blank lines and line
// ends in quotes.
func FuzzLines(f *testing.F) {
	for _, s := range []string{"a,b\n1,2\n", "\"a\"\"b\",c\r\n", "a\n\n\"\n\n\"", "\"\r\n", "\r\r\n,\"", "a\"b\n\n", "\n,"} {
		f.Add(s)
	}
	read := func(in io.Reader) ([][]string, error) {
		r := csv.NewReader(in)
		r.FieldsPerRecord = -1
		all, err := r.ReadAll()
		return slices.DeleteFunc(all, isBlank), err
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, blank) {
			return
		}
		got, err := read(newLines(strings.NewReader(text)))
		want, wantErr := read(strings.NewReader(text))
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%q: %v; without lines: %v", text, err, wantErr)
		}
		for i, record := range got {
			for j, field := range record {
				if i >= len(want) || j >= len(want[i]) || strings.ReplaceAll(field, "\r\n", "\n") != strings.ReplaceAll(want[i][j], "\r\n", "\n") {
					t.Fatalf("%q: %q; without lines: %q", text, got, want)
				}
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%q: %q; without lines: %q", text, got, want)
		}
	})
}
