package printable_test

import (
	"bytes"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/printable"
)

func TestPrintable(t *testing.T) {
	for _, c := range []struct{ text, line, written string }{
		{"plain", "plain", "plain"},
		{"two\nlines\tand a tab", "two lines and a tab", "two\nlines\tand a tab"},
		{"\x1b[31mred\x1b[0m", "[31mred [0m", " [31mred [0m"},
		{"a\u009b31mb\x07\x7f", "a 31mb", "a 31mb  "},
		{"over\rwritten", "over written", "over written"},
		{"\u202eturned\u2066\u2028", "turned", " turned  "},
		{"Grüße 模型 👩\u200d🔬", "Grüße 模型 👩 🔬", "Grüße 模型 👩\u200d🔬"},
		{"broken \xff\x9b", "broken \uFFFD", "broken \uFFFD"},
		{"", "", ""},
	} {
		if got := printable.Line(c.text); got != c.line {
			t.Errorf("Line(%q) is %q, want %q", c.text, got, c.line)
		}
		var b bytes.Buffer
		if n, err := printable.Writer(&b).Write([]byte(c.text)); b.String() != c.written || n != len(c.text) || err != nil {
			t.Errorf("writing %q gives %q, %d, %v; want %q", c.text, b.String(), n, err, c.written)
		}
	}
}
