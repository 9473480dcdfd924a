package manifest_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/pynomaly/pynomaly-runtime/internal/strictyaml"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

var update = flag.Bool("update", false, "write the golden files")

func read(t testing.TB, parts ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestEncode checks that the written text is unchanged and reads back as the same
// manifest.
func TestEncode(t *testing.T) {
	m, err := manifest.Decode(read(t, "testdata", "full.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := manifest.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "full.golden.yaml")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := read(t, golden); string(got) != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	again, err := manifest.Decode(got)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(m, again) {
		t.Errorf("read back as\n%+v\nwas\n%+v", again, m)
	}
}

// base is the smallest manifest. Tests change or add lines.
const base = `apiVersion: pynomaly.io/v1
kind: Model
id: m
version: 1.0.0
artifact: model.onnx
features:
  - {name: a, dtype: float32}
  - {name: b, dtype: int64}
`

type problemCase struct {
	name, from, to string // to replaces from in base; an empty from appends to
	want           []string
	schemaAccepts  bool // the JSON Schema cannot express it
}

func problems() []problemCase {
	return []problemCase{
		{"unknown key", "", "thresold: 1", []string{"line 9: thresold: unknown key; did you mean \"threshold\"?"}, false},
		{"unknown nested key", "", "limits: {memroy: 1MiB}", []string{"line 9: limits.memroy", "memory"}, false},
		{"duplicate key", "", "id: other", []string{"line 9: id:", "twice"}, true},
		{"no artifact", "artifact: model.onnx\n", "", []string{"artifact: is missing"}, false},
		{"wrong apiVersion", "pynomaly.io/v1", "pynomaly.io/v2", []string{`line 1: apiVersion: is "pynomaly.io/v2"; must be pynomaly.io/v1`}, false},
		{"wrong kind", "kind: Model", "kind: Pod", []string{"line 2: kind"}, false},
		{"bad id", "id: m", "id: a/b", []string{"line 3: id:"}, false},
		{"id begins with -", "id: m", "id: -m", []string{"line 3: id:"}, false},
		{"bad version", "1.0.0", "v1", []string{"line 4: version:", "semantic version"}, false},
		{"build metadata", "1.0.0", "1.0.0+5", []string{"line 4: version:"}, false},
		{"leading zero", "1.0.0", "1.01.0", []string{"line 4: version:"}, false},
		{"artifact elsewhere", "model.onnx", "../model.onnx", []string{"line 5: artifact:", "inside the model's directory"}, true},
		{"absolute artifact", "model.onnx", "/etc/passwd", []string{"line 5: artifact:"}, true},
		{"unknown backend", "", "backend: onxx", []string{"line 9: backend:", "onnx, wasm, process"}, false},
		{"bad digest", "", "digest: md5:0", []string{"line 9: digest:"}, false},
		{"bad file digest", "", "files: {a: sha256:0}", []string{"line 9: files.a:"}, false},
		{"command for onnx", "", "command: [python3]", []string{"line 9: command:"}, true},
		{"no dtype", "dtype: float32", "missing: nan", []string{"line 7: features[0].dtype"}, false},
		{"bad dtype", "float32", "float16", []string{"line 7: features[0].dtype: must be one of"}, false},
		{"no name", "name: a, ", "", []string{"line 7: features[0]: has no name"}, false},
		{"same name", "name: b", "name: a", []string{"line 8: features[1].name", "features[0]"}, true},
		{"no features", "features:\n  - {name: a, dtype: float32}\n  - {name: b, dtype: int64}", "features: []", []string{"line 6: features: lists no feature"}, false},
		{"nan for int64", "dtype: int64", "dtype: int64, missing: nan", []string{"line 8: features[1].missing: nan does not exist for int64"}, true},
		{"text for float32", "dtype: float32", "dtype: float32, missing: abc", []string{"line 7: features[0].missing"}, true},
		{"too large for float32", "dtype: float32", "dtype: float32, missing: 1.0e300", []string{"line 7: features[0].missing"}, true},
		{"unknown features", "", "unknown_features: drop", []string{"unknown_features", "error, ignore"}, false},
		{"orientation", "", "output: {orientation: up}", []string{"output.orientation", "higher_is_normal"}, false},
		{"column below 0", "", "output: {column: -1}", []string{"line 9: output.column: is -1"}, false},
		{"column is text", "", "output: {column: first}", []string{"line 9: output.column: must be a whole number"}, false},
		{"reconstruction", "", "output: {reconstruction: rmse}", []string{"line 9: output.reconstruction", "one of mse, mae"}, false},
		{"reconstruction of a column", "", "output: {column: 1, reconstruction: mse}", []string{"leave out column, or reconstruction"}, true},
		{"column of a plugin", "", "backend: wasm\noutput: {column: 1}", []string{"line 10: output.column: is for backend onnx only"}, true},
		{"input of a plugin", "  - {name: b, dtype: int64}", "  - {name: b, dtype: int64, input: X}\nbackend: wasm", []string{"line 8: features[1].input: is for backend onnx only"}, true},
		{"input and inputs", "  - {name: b, dtype: int64}", "  - {name: b, dtype: int64, input: Y}\ninput: X", []string{"line 8: features[1].input: is \"Y\""}, true},
		{"empty input", "name: b", "name: b, input: ''", []string{"line 8: features[1].input: is empty"}, false},
		{"threshold is text", "", "threshold: high", []string{"line 9: threshold"}, false},
		{"threshold is nan", "", "threshold: .nan", []string{"line 9: threshold"}, true},
		{"calibration method", "", "calibration: {method: platt}", []string{"calibration.method"}, false},
		{"linear without figures", "", "calibration: {method: linear}", []string{"linear needs min and max"}, true},
		{"linear upside down", "", "calibration: {method: linear, min: 2, max: 1}", []string{"calibration.max: is 1; must be above min, 2"}, true},
		{"unify without figures", "", "calibration: {method: unify, mean: 0}", []string{"unify needs mean and std"}, true},
		{"unify flat", "", "calibration: {method: unify, mean: 0, std: 0}", []string{"calibration.std"}, false},
		{"ecdf without scores", "", "calibration: {method: ecdf}", []string{"ecdf needs scores"}, true},
		{"confidence without all", "", "confidence: {contamination: 0.1}", []string{"calibration.scores", "threshold"}, true},
		{"contamination", "", "confidence: {contamination: 0.9}", []string{"confidence.contamination"}, false},
		{"explanation method", "", "explanation: {method: lime}", []string{"explanation.method"}, false},
		{"no reference", "", "explanation: {method: occlusion}", []string{"needs reference"}, true},
		{"reference lacks one", "", "explanation: {method: exact, reference: {a: 1}}", []string{`has no value for feature "b"`}, true},
		{"reference has one more", "", "explanation: {method: exact, reference: {a: 1, b: 2, c: 3}}", []string{"explanation.reference.c: is no feature"}, true},
		{"reference of wrong type", "", "explanation: {method: exact, reference: {a: 1, b: 2.5}}", []string{"explanation.reference.b"}, true},
		{"permutations", "", "explanation: {method: permutation, reference: {a: 1, b: 2}, permutations: 0}", []string{"explanation.permutations"}, false},
		{"online but stateless", "", "learning: online", []string{"learning", "stateful"}, true},
		{"snapshots without a pause", "", "stateful: true\nsnapshot_interval: 1ns", []string{"snapshot_interval", "at least 10ms"}, true},
		{"negative tolerance", "", "golden: {rows: g, tolerance: -1}", []string{"golden.tolerance"}, false},
		{"timeout", "", "limits: {timeout: 0s}", []string{"limits.timeout"}, true},
		{"timeout without unit", "", "limits: {timeout: 5}", []string{"limits.timeout"}, false},
		{"memory", "", "limits: {memory: 10}", []string{"limits.memory"}, true},
		{"rows", "", "limits: {max_batch_rows: 0}", []string{"limits.max_batch_rows"}, false},
		{"queue", "", "batching: {max_queue: 0}", []string{"batching.max_queue"}, false},
		{"alias bomb", "", "metadata: {a: &a [1, 2], b: *a}", []string{"alias"}, true},
		{"metadata that JSON cannot have", "", "metadata: {best: .nan}", []string{"line 9: metadata.best: must be finite"}, true},
		{"not an object", base, "- a\n- b\n", []string{"must be an object"}, false},
		{"empty", base, " \n", []string{"empty"}, true},
		{"two documents", "", "---\nid: x", []string{"more than one document"}, true},
		{"no YAML", base, "a: [", []string{"line 1"}, true},
		{"everything at once", "id: m\nversion: 1.0.0", "id: ''\nversion: one\nthreshold: x\nbackend: y",
			[]string{"line 3: id", "line 4: version", "line 5: threshold", "line 6: backend"}, false},
	}
}

func (c problemCase) text() string {
	if c.from == "" {
		return base + c.to + "\n"
	}
	return strings.Replace(base, c.from, c.to, 1)
}

// TestProblems checks that every problem is named with its line, and that the JSON
// Schema refuses whatever a schema can express.
func TestProblems(t *testing.T) {
	schema := compile(t)
	if _, err := manifest.Decode([]byte(base)); err != nil {
		t.Fatalf("the base is refused: %v", err)
	}
	for _, c := range problems() {
		t.Run(c.name, func(t *testing.T) {
			_, err := manifest.Decode([]byte(c.text()))
			if err == nil {
				t.Fatal("accepted")
			}
			var all strictyaml.Problems
			if !errors.As(err, &all) {
				t.Fatalf("%T is not a list of problems", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			var doc any
			if yaml.Unmarshal([]byte(c.text()), &doc) != nil || c.schemaAccepts {
				return
			}
			if schema.Validate(jsonValue(t, doc)) == nil {
				t.Error("the JSON Schema accepts it")
			}
		})
	}
}

func compile(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(manifest.Schema())))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("model.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("model.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// jsonValue converts a value as yaml reads it to what encoding/json would read.
func jsonValue(t testing.TB, v any) any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestSchemaAcceptsWhatDecodeDoes checks the schema against every manifest of the
// project.
func TestSchemaAcceptsWhatDecodeDoes(t *testing.T) {
	schema := compile(t)
	files, err := filepath.Glob("../testdata/*/*/*/model.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	more, _ := filepath.Glob("../testdata/*/*/*/*/model.yaml")
	for _, file := range append(append(files, more...), "testdata/full.yaml", "testdata/full.golden.yaml") {
		data := read(t, file)
		if _, err := manifest.Decode(data); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		var doc any
		if err := yaml.Unmarshal(data, &doc); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(jsonValue(t, doc)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestVersions(t *testing.T) {
	order := []string{"0.0.0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-rc.1", "1.0.0", "1.2.0", "1.10.0", "2.0.0"}
	for i := range order {
		if !manifest.ValidVersion(order[i]) {
			t.Errorf("%s is refused", order[i])
		}
		if i > 0 && manifest.CompareVersions(order[i-1], order[i]) >= 0 {
			t.Errorf("%s is not below %s", order[i-1], order[i])
		}
	}
	for _, bad := range []string{"", "1", "1.0", "v1.0.0", "1.0.0+b", "01.0.0", "latest", "1.0.0-"} {
		if manifest.ValidVersion(bad) {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// TestNewestFirst checks that the newest version comes first, in whatever order
// versions are given.
func TestNewestFirst(t *testing.T) {
	for _, want := range [][]string{
		{"1.0.0", "2.0.0-rc.1"},
		{"2.0.0", "1.10.0", "1.9.0", "3.0.0-alpha", "2.0.0-rc.10", "2.0.0-rc.2"},
		{"2.0.0-rc.1", "2.0.0-beta", "1.0.0-rc.1"},
		{"0.0.1", "0.0.0", "9.9.9-0", "9.0.0+build", "1.0", "", "draft", "v3.0.0"},
	} {
		got := slices.Clone(want)
		for range got {
			got = append(got[1:], got[0])
			given := slices.Clone(got)
			slices.SortFunc(given, manifest.NewestFirst)
			if !slices.Equal(given, want) {
				t.Errorf("%q is sorted as %q, want %q", got, given, want)
			}
			if first := slices.MinFunc(got, manifest.NewestFirst); first != want[0] {
				t.Errorf("the newest of %q is %q, want %q", got, first, want[0])
			}
		}
	}
}

func ExampleDecode() {
	_, err := manifest.Decode([]byte(`apiVersion: pynomaly.io/v1
kind: Model
id: cardio
version: 1.0
artifact: model.onnx
thresold: 0.5
`))
	fmt.Println(err)
	// Output:
	// line 4: version: is "1.0"; must be a semantic version such as 1.2.0 or 1.2.0-rc.1, without build metadata; line 6: thresold: unknown key; did you mean "threshold"?
}

// FuzzDecode checks that decoding any text gives an error, or a manifest that reads
// back unchanged.
func FuzzDecode(f *testing.F) {
	f.Add(read(f, "testdata", "full.yaml"))
	for _, c := range problems() {
		f.Add([]byte(c.text()))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := manifest.Decode(data)
		if err != nil {
			return
		}
		text, err := manifest.Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		again, err := manifest.Decode(text)
		if err != nil {
			t.Fatalf("what was written is refused: %v\n%s", err, text)
		}
		if fmt.Sprint(m.Features, m.Limits, m.Batching) != fmt.Sprint(again.Features, again.Limits, again.Batching) || !reflect.DeepEqual(m.Output, again.Output) {
			t.Fatalf("read back differently:\n%s", text)
		}
	})
}
