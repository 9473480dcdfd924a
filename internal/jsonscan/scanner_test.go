package jsonscan

import (
	"bufio"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

type suiteCase struct{ Name, Input string }

// suite returns the parsing test suite and cases that a text file cannot hold: bytes
// that are not UTF-8, and very deep nesting.
func suite(t testing.TB) []suiteCase {
	t.Helper()
	f, err := os.Open("testdata/suite.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []suiteCase
	for s := bufio.NewScanner(f); s.Scan(); {
		var c suiteCase
		if err := json.Unmarshal(s.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return append(all,
		suiteCase{"n_array_invalid_utf8", "[\xff]"},
		suiteCase{"n_array_a_invalid_utf8", "[a\xe5]"},
		suiteCase{"n_number_invalid-utf-8-in-exponent", "[1e1\xe5]"},
		suiteCase{"n_number_invalid-utf-8-in-int", "[0\xe5]\n"},
		suiteCase{"n_number_invalid-utf-8-in-bigger-int", "[123\xe5]"},
		suiteCase{"n_number_invalid-utf-8-in-real", "[1.0\xe5]"},
		suiteCase{"n_number_real_with_invalid_utf8_after_e", "[1e\xe5]"},
		suiteCase{"n_object_lone_continuation_byte_in_key_and_trailing_comma", "{\"\xb9\":\"0\",}"},
		suiteCase{"n_string_invalid_utf8_after_escape", "[\"\\\xe5\"]"},
		suiteCase{"n_string_invalid-utf-8-in-escape", "[\"\\u\xe5\"]"},
		suiteCase{"n_string_escape_with_invalid_utf8", "[\"\\\xe5\"]"},
		suiteCase{"n_structure_incomplete_UTF8_BOM", "\xef\xbb{}"},
		suiteCase{"n_structure_single_eacute", "\xe9"},
		suiteCase{"n_structure_lone-invalid-utf-8", "\xe5"},
		suiteCase{"n_structure_100000_opening_arrays", strings.Repeat("[", 100000)},
		suiteCase{"n_structure_open_array_object", strings.Repeat(`[{"":`, 50000) + "\n"},
		suiteCase{"i_string_overlong_sequence_2_bytes", "[\"\xc0\xaf\"]"},
		suiteCase{"i_string_truncated-utf-8", "[\"\xe0\xff\"]"},
		suiteCase{"i_structure_UTF-8_BOM_empty_object", "\xef\xbb\xbf{}"},
	)
}

func whole(s string) error {
	sc := &Scanner{Data: []byte(s)}
	if err := sc.Skip(); err != nil {
		return err
	}
	return sc.End()
}

func TestParsingSuite(t *testing.T) {
	var accepted, refused int
	for _, c := range suite(t) {
		err := whole(c.Input)
		switch {
		case c.Name[0] == 'y' && err != nil:
			t.Errorf("%s: refused %.60q: %v", c.Name, c.Input, err)
		case c.Name[0] == 'n' && err == nil:
			t.Errorf("%s: accepted %.60q", c.Name, c.Input)
		case c.Name[0] == 'y':
			accepted++
		case c.Name[0] == 'n':
			refused++
		}
		var syntax *SyntaxError
		if err != nil && !errors.As(err, &syntax) {
			t.Errorf("%s: %v is not a SyntaxError", c.Name, err)
		}
	}
	if accepted < 95 || refused < 180 {
		t.Errorf("only %d accepted and %d refused cases were tried", accepted, refused)
	}
}

func TestStrings(t *testing.T) {
	for in, want := range map[string]string{
		`"abc"`: "abc", `""`: "", `"a\"b\\c\/"`: `a"b\c/`, `"\u0041\n\t\b\f\r"`: "A\n\t\b\f\r",
		`"\uD83D\ude00é"`: "\U0001F600é", "\"\u2028\"": "\u2028", `"x\u0000"`: "x\x00",
	} {
		got, err := (&Scanner{Data: []byte(in)}).String(nil)
		if err != nil || string(got) != want {
			t.Errorf("%s = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{`"`, `"a`, `"\`, `"\x"`, `"\u12"`, `"\uD800"`, `"\uD800\u0041"`, `"\uDC00"`, "\"\x01\"", "\"\xff\"", "\"\\n\xff\"", "\"\\n\x01\""} {
		if got, err := (&Scanner{Data: []byte(in)}).String(nil); err == nil {
			t.Errorf("%q was accepted as %q", in, got)
		}
	}
}

func number(t testing.TB, s string) Number {
	t.Helper()
	n, err := (&Scanner{Data: []byte(s)}).Number()
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return n
}

func TestIntegers(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "-0": 0, "1.0": 1, "1e3": 1000, "12.50e1": 125, "-9223372036854775808": math.MinInt64, "9223372036854775807": math.MaxInt64,
		"0.0e99": 0, "1.00000000000000000000": 1, "922337203685477580.70000000000000000000e1": math.MaxInt64, "100000000000000000000000e-5": 1e18,
	} {
		if n := number(t, in); true {
			if got, ok := n.Int64(); !ok || got != want {
				t.Errorf("%s = %d, %v; want %d", in, got, ok, want)
			}
		}
	}
	for _, in := range []string{"1.5", "1e-1", "9223372036854775808", "-9223372036854775809", "1e19", "1e400", "18446744073709551617", "36893488147419103233", "0.00000000000000000000000001"} {
		if n := number(t, in); true {
			if got, ok := n.Int64(); ok {
				t.Errorf("%s was taken as %d", in, got)
			}
		}
	}
}

// TestRounding compares float32 and float64 with exact arithmetic, on random
// decimals and on decimals midway between two float32 values.
func TestRounding(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var cases []string
	for range 200000 {
		f := math.Float32frombits(rng.Uint32())
		if f != f || math.IsInf(float64(f), 0) {
			continue
		}
		next := math.Nextafter32(f, math.MaxFloat32)
		middle := new(big.Float).SetPrec(200).Add(big.NewFloat(float64(f)), big.NewFloat(float64(next)))
		middle.Quo(middle, big.NewFloat(2))
		cases = append(cases, strconv.FormatFloat(float64(f), 'g', -1, 32), strconv.FormatFloat(rng.NormFloat64(), 'g', 1+rng.IntN(20), 64))
		if rng.IntN(20) == 0 {
			cases = append(cases, middle.Text('g', 60), middle.Text('g', 17), middle.Text('e', 12))
		}
	}
	cases = append(cases, "1e400", "-1e400", "3.4028236e38", "3.4028235e38", "1e-400", "0", "-0", "1e22", "1e23", "9007199254740993", "1.17549435e-38", "1e-45", "7e-46", "0.000000000000000000000000000000000000011754942106924411")
	for _, s := range cases {
		n := number(t, s)
		want32, err32 := strconv.ParseFloat(s, 32)
		if got, ok := n.Float32(); ok != (err32 == nil) || (ok && math.Float32bits(got) != math.Float32bits(float32(want32))) {
			t.Fatalf("%s: float32 %v, %v; want %v, %v", s, got, ok, want32, err32)
		}
		want64, err64 := strconv.ParseFloat(s, 64)
		if got, ok := n.Float64(); ok != (err64 == nil) || (ok && math.Float64bits(got) != math.Float64bits(want64)) {
			t.Fatalf("%s: float64 %v, %v; want %v, %v", s, got, ok, want64, err64)
		}
	}
}

// FuzzSkip compares the grammar with that of encoding/json, which is more lenient
// only in that it replaces lone surrogates and what is not UTF-8, and allows deeper
// nesting.
func FuzzSkip(f *testing.F) {
	for _, c := range suite(f) {
		if len(c.Input) < 1000 {
			f.Add([]byte(c.Input))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := whole(string(data))
		if err == nil && !json.Valid(data) {
			t.Fatalf("accepted %q", data)
		}
		if err != nil && json.Valid(data) && !strings.Contains(err.Error(), "UTF-8") && !strings.Contains(err.Error(), "surrogate") && !strings.Contains(err.Error(), "nested") {
			t.Fatalf("refused %q: %v", data, err)
		}
	})
}
