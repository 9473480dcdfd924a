package render_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
)

const schemaFile = "../../charts/pynomaly-runtime/values.schema.json"

// TestSchema checks that the definitions of the chart's schema are the rules, one a
// line, and that the schema uses each of them.
func TestSchema(t *testing.T) {
	text, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	const opening, closing = "  \"definitions\": {\n", "\n  }\n}\n"
	start := bytes.Index(text, []byte(opening))
	if start < 0 {
		t.Fatalf("%s has no definitions", schemaFile)
	}
	var lines []string
	for _, r := range render.Rules() {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(r.Definition()); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, "    \""+r.Name+"\": "+strings.TrimSpace(b.String()))
		if !bytes.Contains(text[:start], []byte(`"#/definitions/`+r.Name+`"`)) && r.Name != "namespace" { // Helm's own
			t.Errorf("the schema does not use %s", r.Name)
		}
	}
	want := string(text[:start]) + opening + strings.Join(lines, ",\n") + closing
	if *update {
		if err := os.WriteFile(schemaFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(text) != want {
		t.Errorf("%s differs from the rules: run go test ./deployer/render -update", schemaFile)
	}
}
