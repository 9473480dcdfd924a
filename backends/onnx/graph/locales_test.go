package graph_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
)

// TestLocales checks that each locale is named once, in the order of the nodes, and that
// what cannot name a locale is left out.
func TestLocales(t *testing.T) {
	var nodes []byte
	for i, locale := range []string{"de_DE", "", "de_DE", "../x", "fr_FR.UTF-8"} {
		attribute := field(5, field(1, []byte("locale")), field(4, []byte(locale)), numberField(20, 3))
		if locale == "" {
			attribute = nil
		}
		nodes = append(nodes, field(1, field(1, []byte("v0")), field(2, fmt.Appendf(nil, "v%d", i+1)), field(4, []byte("StringNormalizer")), attribute)...)
	}
	texts := field(2, field(1, numberField(1, 8), field(2, field(1, field(2, []byte("N"))))))
	data := slices.Concat(numberField(1, 8), field(8, numberField(2, 17)), field(7, field(11, field(1, []byte("v0")), texts), nodes, field(12, field(1, []byte("v1")), texts)))
	m, err := graph.Check(data, graph.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := m.Locales(), []string{"de_DE", "en_US.UTF-8", "fr_FR.UTF-8"}; !slices.Equal(got, want) {
		t.Errorf("locales %q; want %q", got, want)
	}
}
