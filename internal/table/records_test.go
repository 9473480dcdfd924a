package table

import (
	"encoding/csv"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// all returns the records of a text. An unclosed record is nil.
func all(in io.Reader, comma byte, fields int) ([][]string, error) {
	r := newRecords(in, comma)
	r.fields = fields
	var got [][]string
	for {
		record, err := r.next()
		switch {
		case errors.Is(err, io.EOF):
			return got, nil
		case errors.Is(err, errUnclosed), errors.Is(err, errLongQuoted):
			got = append(got, nil)
		case err != nil:
			return got, err
		default:
			got = append(got, append([]string{}, record...))
		}
	}
}

func TestRecords(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	blank := []string{}
	for text, want := range map[string][][]string{
		"a\n1\n2\n":                             {{"a"}, {"1"}, {"2"}},
		"a\n1\n\n2":                             {{"a"}, {"1"}, blank, {"2"}},
		"a\r\n\r\n2\r\n":                        {{"a"}, blank, {"2"}},
		"\n\na\n1\n\n":                          {blank, blank, {"a"}, {"1"}, blank},
		"a,b\n,\n":                              {{"a", "b"}, {"", ""}},
		"a\n\"x\r\ny\"\n":                       {{"a"}, {"x\r\ny"}},
		"a\n\"x\n\ny\"\n":                       {{"a"}, {"x\n\ny"}},
		"a\n\"x\"\"\r\ny\"\n":                   {{"a"}, {"x\"\r\ny"}},
		"\"a,b\",\"\",\"c\"\r\n":                {{"a,b", "", "c"}},
		"1,5\" pipe\n2,ok\n":                    {{"1", "5\" pipe"}, {"2", "ok"}},
		"1,\"say \"hi\" there\"\n2,ok\n":        {{"1", "say \"hi\" there"}, {"2", "ok"}},
		"1,\"open\n2,ok\n3,ok":                  {nil, {"2", "ok"}, {"3", "ok"}},
		"1,\"open\n2,ok\n3,\"open\n4,ok\n":      {nil, {"2", "ok"}, nil, {"4", "ok"}},
		"1,\"two\nlines\"\n2,ok\n":              {{"1", "two\nlines"}, {"2", "ok"}},
		"\"":                                    {nil},
		"1,\"a\"\r":                             {{"1", "a"}},
		long + "\r\n\r\n":                       {{long}, blank},
		"\"" + long + "\r\n" + long + "\"\r\n2": {{long + "\r\n" + long}, {"2"}},
		"1,\"" + strings.Repeat(long+"\n", 11) + "\"\n2,ok\n": append(append([][]string{nil}, slices.Repeat([][]string{{long}}, 10)...), nil, []string{"2", "ok"}),
	} {
		fields := 0
		if strings.HasPrefix(text, "1,") {
			fields = 2
		}
		for _, in := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text))} {
			got, err := all(in, ',', fields)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%.40q: %.200q, %v; want %.200q", text, got, err, want)
			}
		}
	}
}

// TestLongQuoted checks that the error of a long quoted field says its limit.
func TestLongQuoted(t *testing.T) {
	for text, want := range map[string]error{
		"1,\"" + strings.Repeat("x\n", maxQuoted/2) + "\"\n": errLongQuoted,
		"1,\"x\n2,3\n": errUnclosed,
	} {
		r := newRecords(strings.NewReader(text), ',')
		r.fields = 2
		if _, err := r.next(); !errors.Is(err, want) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

func TestHeader(t *testing.T) {
	known := func(name string) bool { return name == "f0" || name == "f1" || name == "a,b" }
	for text, want := range map[string]struct {
		names []string
		comma byte
	}{
		"f0,f1\n":               {[]string{"f0", "f1"}, ','},
		"\n\r\nf0;f1;x,y\n":     {[]string{"f0", "f1", "x,y"}, ';'},
		"f0\tf1\r\n":            {[]string{"f0", "f1"}, '\t'},
		"f0|f1":                 {[]string{"f0", "f1"}, '|'},
		"sep=;\r\nf0;f1\r\n":    {[]string{"f0", "f1"}, ';'},
		"sep=#\nf0#f1\n":        {[]string{"f0", "f1"}, '#'},
		"\"a,b\";\"f0\"\n":      {[]string{"a,b", "f0"}, ';'},
		"\"f0\",\"two\nlines\"": {[]string{"f0", "two\nlines"}, ','},
		"x;y\n":                 {[]string{"x;y"}, ','},
	} {
		r := newRecords(strings.NewReader(text), 0)
		names, err := header(r, 0, known)
		if err != nil || !reflect.DeepEqual(names, want.names) || r.comma != want.comma {
			t.Errorf("%q: %q with %q, %v", text, names, r.comma, err)
		}
	}
	for _, text := range []string{"", "\n\n", "sep=;\n"} {
		if _, err := header(newRecords(strings.NewReader(text), 0), 0, known); !errors.Is(err, io.EOF) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// FuzzRecords checks that records agree with package encoding/csv about what that package
// reads, but for blank lines and line ends in quotes, and that lines are lost with
// nothing.
func FuzzRecords(f *testing.F) {
	for _, s := range []string{"a,b\n1,2\n", "\"a\"\"b\",c\r\n", "a\n\n\"\n\n\"", "\"\r\n", "\r\r\n,\"", "a\"b\n\n", "\n,", "a,\"b\nc,d\n\"e\",f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := all(strings.NewReader(text), ',', 0)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Count(text, "\n") + 1
		if len(got) > lines {
			t.Fatalf("%q: %d records in %d lines", text, len(got), lines)
		}
		r := csv.NewReader(strings.NewReader(text))
		r.FieldsPerRecord = -1
		want, err := r.ReadAll()
		if err != nil {
			return
		}
		got = slices.DeleteFunc(got, func(record []string) bool { return len(record) == 0 })
		if len(got) != len(want) {
			t.Fatalf("%q: %q; encoding/csv reads %q", text, got, want)
		}
		for i, record := range got {
			for j, field := range record {
				if j >= len(want[i]) || strings.ReplaceAll(field, "\r", "") != strings.ReplaceAll(want[i][j], "\r", "") {
					t.Fatalf("%q: %q; encoding/csv reads %q", text, got, want)
				}
			}
		}
	})
}
