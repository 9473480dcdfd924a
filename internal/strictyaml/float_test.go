package strictyaml_test

import (
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/pynomaly/pynomaly-runtime/internal/strictyaml"
)

// TestFloats compares decoded numbers with those of the YAML library.
func TestFloats(t *testing.T) {
	for _, text := range []string{
		"0", "1", "-1", "0.5", "-0.0", "1e3", "1E-3", "-1.5e+300", "5e-324", "0.1234567890123456789", "9223372036854775807", "9223372036854775808", "18446744073709551615",
		"123456789012345678901234567890", "9007199254740993", "017", "0o17", "0x1F", "0b11", "1_000", "1_000.5", "1.", ".5", "+1", "-017", "1e999", ".inf", ".nan", "1-2", "1.2.3", "00", "~", "true", "2001-01-01", "1:30",
	} {
		var got float64
		err := strictyaml.Decode([]byte("v: "+text), strictyaml.Fields{"v": strictyaml.Float(&got)}).Err()
		var want struct{ V yaml.Node }
		var v float64
		if wrong := yaml.Unmarshal([]byte("v: "+text), &want); wrong != nil {
			t.Fatal(wrong)
		}
		number := (want.V.Tag == "!!int" || want.V.Tag == "!!float") && want.V.Decode(&v) == nil && v-v == 0
		if number != (err == nil) || number && got != v {
			t.Errorf("%s: %v, %v, the library says %v of %s", text, got, err, v, want.V.Tag)
		}
	}
}
