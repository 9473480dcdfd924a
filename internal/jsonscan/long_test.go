package jsonscan

import (
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// decimal is a decimal number and its exact value.
type decimal struct {
	whole, fraction string // digits
	exponent        int
	negative        bool
}

func (d decimal) text() string {
	var b strings.Builder
	if d.negative {
		b.WriteByte('-')
	}
	b.WriteString(d.whole)
	if d.fraction != "" {
		b.WriteByte('.')
		b.WriteString(d.fraction)
	}
	if d.exponent != 0 {
		fmt.Fprintf(&b, "e%d", d.exponent)
	}
	return b.String()
}

func (d decimal) exact() *big.Rat {
	digits, _ := new(big.Int).SetString(d.whole+d.fraction, 10)
	if d.negative {
		digits.Neg(digits)
	}
	exponent := d.exponent - len(d.fraction)
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(exponent, -exponent))), nil)
	if exponent < 0 {
		return new(big.Rat).SetFrac(digits, scale)
	}
	return new(big.Rat).SetInt(digits.Mul(digits, scale))
}

// check compares the scanned number with the exact value, rounded once.
func (d decimal) check(t interface{ Fatalf(string, ...any) }) {
	s := &Scanner{Data: []byte(d.text())}
	n, err := s.Number()
	if err != nil || s.End() != nil {
		t.Fatalf("%.80s: %v", d.text(), err)
	}
	exact := d.exact()
	zero := 0.0
	if d.negative {
		zero = math.Copysign(0, -1)
	}
	want64, _ := exact.Float64()
	want32, _ := exact.Float32()
	if want64 == 0 {
		want64 = zero
	}
	if want32 == 0 {
		want32 = float32(zero)
	}
	if got, ok := n.Float64(); ok == math.IsInf(want64, 0) || (ok && math.Float64bits(got) != math.Float64bits(want64)) {
		t.Fatalf("%.80s of %d bytes: float64 %v, %v; want %v", d.text(), len(d.text()), got, ok, want64)
	}
	if got, ok := n.Float32(); ok == math.IsInf(float64(want32), 0) || (ok && math.Float32bits(got) != math.Float32bits(want32)) {
		t.Fatalf("%.80s of %d bytes: float32 %v, %v; want %v", d.text(), len(d.text()), got, ok, want32)
	}
	whole := exact.IsInt() && exact.Num().IsInt64()
	if got, ok := n.Int64(); ok != whole || (ok && got != exact.Num().Int64()) {
		t.Fatalf("%.80s of %d bytes: int64 %v, %v; want %v", d.text(), len(d.text()), got, ok, whole)
	}
}

func zeros(n int) string { return strings.Repeat("0", n) }

// TestLongNumbers checks that exponents can offset any number of digits.
func TestLongNumbers(t *testing.T) {
	for _, d := range []decimal{
		{whole: "1" + zeros(300_000), exponent: -300_000},
		{whole: strings.Repeat("9", 300_000), exponent: -300_000},
		{whole: "0", fraction: zeros(299_999) + "17", exponent: 300_000},
		{whole: "0", fraction: zeros(300_000), exponent: 300_000, negative: true},
		{whole: "1" + zeros(20_000), exponent: -20_310},
		{whole: "1" + zeros(20_000), exponent: -20_323, negative: true},
		{whole: "1" + zeros(9_000), fraction: zeros(9_000) + "1", exponent: -9_000},
		{whole: "1" + zeros(1_200_000), exponent: -1_200_000},
		{whole: "9007199254740993" + zeros(2_000), exponent: -2_000},
		{whole: "9007199254740993" + zeros(2_000), fraction: "1", exponent: -2_000},
		{whole: "9007199254740991" + zeros(2_000), fraction: zeros(700) + "1", exponent: -2_000, negative: true},
		{whole: "1", exponent: -300_000}, {whole: "1", exponent: 300_000}, {whole: "0", exponent: 300_000},
		{whole: "9223372036854775807" + zeros(1_000), exponent: -1_000},
		{whole: "9223372036854775808" + zeros(1_000), exponent: -1_000, negative: true},
		{whole: "9223372036854775808" + zeros(1_000), exponent: -1_000},
		{whole: "9223372036854775808", fraction: zeros(800) + "1", negative: true},
	} {
		d.check(t)
	}
	// Exponents that no digits offset are not multiplied out.
	for text, want := range map[string]float64{"1e-99999999999999999999": 0, "-0." + zeros(1_000) + "1e-9223372036854775807": math.Copysign(0, -1), "0e99999999999999999999": 0} {
		n := number(t, text)
		if got, ok := n.Float64(); !ok || math.Float64bits(got) != math.Float64bits(want) {
			t.Errorf("%.40s: %v, %v; want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"1e99999999999999999999", "1" + zeros(1_000) + "e9223372036854775807"} {
		n := number(t, text)
		if got, ok := n.Float64(); ok {
			t.Errorf("%.40s: %v; want an overflow", text, got)
		}
	}
}

// TestNumbersExactly checks that numbers of any length, and decimals at and beside
// the midpoint of two neighbours, are rounded once.
func TestNumbersExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		digits := func(name, pattern string) string { return rapid.StringMatching(pattern).Draw(t, name) }
		pad := func(name string) string {
			return zeros(rapid.OneOf(rapid.Just(0), rapid.IntRange(0, 40), rapid.IntRange(600, 3_000)).Draw(t, name))
		}
		d := decimal{negative: rapid.Bool().Draw(t, "negative")}
		if rapid.Bool().Draw(t, "middle") {
			// The midpoint m + ½ in the last place of a float64 or float32 is
			// written as m 2^e with one more bit.
			bits := rapid.SampledFrom([]int{24, 53}).Draw(t, "bits")
			m := new(big.Int).SetUint64(rapid.Uint64Range(1, 1<<bits-1).Draw(t, "m"))
			m.Add(m.Lsh(m, 1), big.NewInt(1))
			e := rapid.SampledFrom([]int{-1075, -1060, -1000, -500, -150, -149, -140, -60, -30, -3, -1, 0, 40, 100, 900}).Draw(t, "e")
			power := new(big.Int).Exp(big.NewInt(2), big.NewInt(int64(e)), nil)
			if e < 0 { // m / 2^-e = m 5^-e / 10^-e
				power.Exp(big.NewInt(5), big.NewInt(int64(-e)), nil)
				d.exponent = e
			}
			d.whole = m.Mul(m, power).String()
			switch rapid.IntRange(0, 2).Draw(t, "beside") {
			case 1: // above
				d.fraction = pad("far") + "1"
			case 2: // below
				m.Sub(m, big.NewInt(1))
				d.whole, d.fraction = m.String(), strings.Repeat("9", 1+len(pad("far")))
			}
		} else {
			d.whole = digits("whole", "0|[1-9][0-9]{0,25}")
			if d.whole != "0" {
				d.whole += pad("zeros") + digits("end", "[0-9]{0,3}")
			}
			d.fraction = pad("leading") + digits("fraction", "[0-9]{0,25}") + pad("trailing")
		}
		shift := rapid.OneOf(rapid.Just(0), rapid.IntRange(-400, 400), rapid.IntRange(-20_000, 20_000)).Draw(t, "shift")
		switch {
		case rapid.Bool().Draw(t, "move"): // the exponent offsets the moved point
			d.exponent += len(d.fraction) - len(d.whole) + shift%400
		case shift > -500 && shift < 500:
			d.exponent += shift
		}
		d.check(t)
	})
}

// FuzzNumber checks that any text that is a number is rounded once.
func FuzzNumber(f *testing.F) {
	for _, s := range []string{"0", "-0.0", "1e22", "9007199254740993", "5e-324", "2.4703282292062327208e-324", "1.7976931348623158e308", "3.4028235677973366e38", "7.006492321624085e-46"} {
		f.Add(s, uint16(0), int16(0))
		f.Add(s, uint16(1_000), int16(-1_000))
	}
	f.Fuzz(func(t *testing.T, text string, pad uint16, shift int16) {
		s := &Scanner{Data: []byte(text)}
		if n, err := s.Number(); err != nil || string(n.Text) != text || n.Exponent > 5_000 || n.Exponent < -5_000 {
			return
		}
		mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
		d := decimal{negative: strings.HasPrefix(mantissa, "-"), exponent: int(shift)}
		d.whole, d.fraction, _ = strings.Cut(strings.TrimPrefix(mantissa, "-"), ".")
		var e int
		if _, err := fmt.Sscanf(exponent, "%d", &e); err != nil && exponent != "" {
			return
		}
		d.exponent += e
		if d.whole != "0" {
			d.whole += zeros(int(pad))
		} else if d.fraction != "" {
			d.fraction = zeros(int(pad)) + d.fraction
		}
		d.check(t)
	})
}
