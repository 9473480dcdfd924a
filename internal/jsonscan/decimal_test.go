package jsonscan

import (
	"math"
	"strconv"
	"strings"
	"testing"
)

func TestDigits(t *testing.T) {
	for text, want := range map[string]struct {
		n int
		v uint64
	}{
		"12345678": {8, 12345678}, "1,345678": {1, 1}, "99.99999": {2, 99}, "a2345678": {0, 0}, "00000007": {8, 7}, "123456\xb10": {6, 123456}, "/1234567": {0, 0}, ":1234567": {0, 0}, "1\xff\xff\xff\xff\xff\xff\xff": {1, 1},
	} {
		var x uint64
		for i := range 8 {
			x |= uint64(text[i]) << (8 * i)
		}
		if n, v := digits(x); n != want.n || (n > 0 && v != want.v) {
			t.Errorf("%q has %d digits, %d", text, n, v)
		}
	}
}

// FuzzDecimal compares with Number: DecimalAt reads the same value of the same text, or
// nothing.
func FuzzDecimal(f *testing.F) {
	for _, text := range []string{"1.5", "-0.000001", "12345678.12345678", "12345678.1234567", "1234567.12345678", "0.1e5", "01.5", "1.", "-", "-.5", "1..5", "123456789", "0.123456789", "16777217", "-0", "1E5", "0,", "9.99999999", "0.07721", "0.008738", "00.5", "01.25", "1.5e3", "1.25E1", "-1.250", "0.0", "1234.567", "123456.7", "1234567.8", "1.2.3", "12.:4", "1./5", "1.234567e"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text += strings.Repeat(" ", 32)
		v, end := DecimalAt([]byte(text), 0)
		if end == 0 {
			return
		}
		r := Scanner{Data: []byte(text)}
		n, err := r.Number()
		if err != nil || r.Pos != end {
			t.Fatalf("%q: %v ends at %d; Number ends at %d: %v", text, v, end, r.Pos, err)
		}
		want, err := strconv.ParseFloat(string(n.Text), 64)
		if err != nil || math.Float64bits(want) != math.Float64bits(v) {
			t.Fatalf("%q is %v; want %v", text, v, want)
		}
		if single, ok := Single(v); ok {
			if want, _ := strconv.ParseFloat(string(n.Text), 32); float32(want) != single {
				t.Fatalf("%q is %v as float32; want %v", text, single, want)
			}
		}
	})
}
