package strictyaml_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/pynomaly/pynomaly-runtime/internal/strictyaml"
)

// TestCostIsBounded checks that decoding any document of at most 1 MB has bounded
// cost and a bounded error.
func TestCostIsBounded(t *testing.T) {
	many := func(item string, n int) string { return strings.Repeat(item, n) }
	numbered := func(format string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for _, c := range []struct{ name, text, want string }{
		{"one long key with many children", "any:\n  ? " + many("k", 500<<10) + "\n  : {" + numbered("%d: 1, ", 36000) + "}", "has a key of 512000 bytes"},
		{"long keys with many children", "any: {" + many("k", 1000) + ": {" + many("l", 1000) + ": {" + numbered("%d: 1, ", 90000) + "}}}", ""},
		{"empty items", "list: [" + many("{}, ", 140_000) + "]", ""},
		{"a list of nothing", "any: [" + many(",", 500_000) + "]", "values; at most 300000 are read"},
		{"many unknown keys", numbered("unknown%d: 1\n", 60_000), "there are more problems"},
		{"long unknown keys", numbered(many("x", 900)+"%d: 1\n", 1000), "unknown key"},
		{"wrong items", "texts: [" + many("[], ", 100_000) + "]", "there are more problems"},
		{"deep", "any: " + many("[", 2000) + many("]", 2000), "nested"},
		{"escapes", "\"a\\e[31mb\": 1", `"a\x1b[31mb"`},
		{"an empty key", "\"\": 1", "plain words"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var texts []string
			var any any
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := strictyaml.Decode([]byte(c.text), strictyaml.Fields{
				"any": strictyaml.Any(&any), "texts": strictyaml.Strings(&texts),
				"list": strictyaml.List(func(int) strictyaml.Field { return strictyaml.Object(strictyaml.Fields{}) }),
			}).Err()
			runtime.ReadMemStats(&after)
			if c.want == "" && err != nil {
				t.Fatal(err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%.500v, want %q", err, c.want)
			}
			if err != nil && len(err.Error()) > 40<<10 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > 300<<20 {
				t.Errorf("%d MB were allocated for %d bytes", took>>20, len(c.text))
			}
		})
	}
}

// FuzzDecode compares accepted values with those of the YAML library.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"a: 1", "any: {a: [1, {b: x}], c: ~}", "any: &a [*a]", "any: {<<: {a: 1}}", "---\nany: 1\n---\nany: 2", "any: !!binary aGk=", "\"\\x00\": 1", "any: 2001-01-01"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var value any
		if err := strictyaml.Decode(data, strictyaml.Fields{"any": strictyaml.Any(&value)}).Err(); err != nil {
			return
		}
		var want struct{ Any yaml.Node }
		if err := yaml.Unmarshal(data, &want); err != nil {
			t.Fatalf("the library refuses an accepted document: %v", err)
		}
		compare(t, value, &want.Any)
	})
}

// compare compares a value with the library's node.
func compare(t *testing.T, got any, want *yaml.Node) {
	t.Helper()
	switch v := got.(type) {
	case map[string]any:
		if want.Kind != yaml.MappingNode || len(v) != len(want.Content)/2 {
			t.Fatalf("%v, the library has %d items", v, len(want.Content)/2)
		}
		for i := 0; i < len(want.Content); i += 2 {
			compare(t, v[want.Content[i].Value], want.Content[i+1])
		}
	case []any:
		if want.Kind != yaml.SequenceNode || len(v) != len(want.Content) {
			t.Fatalf("%v, the library has %d items", v, len(want.Content))
		}
		for i := range v {
			compare(t, v[i], want.Content[i])
		}
	case string:
		if v != want.Value {
			t.Errorf("%q, the library says %q", v, want.Value)
		}
	default:
		var other any
		if want.Kind != 0 && want.Decode(&other) != nil || fmt.Sprint(v) != fmt.Sprint(other) {
			t.Errorf("%v, the library says %v", v, other)
		}
	}
}
