package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
)

// setting is a line of the table of values.
type setting struct {
	Flag, Chart, Env, File, Key string
	List                        bool
	Good, Bad, Own              []any
}

const chart = "../../charts/pynomaly-runtime/"

// renderError runs `deploy render`.
func renderError(args ...string) error {
	var out bytes.Buffer
	c := (&app{Options: Options{Out: &out, Image: "x:1"}}).render()
	c.SetArgs(args)
	c.SetOut(io.Discard)
	c.SetErr(io.Discard)
	err := c.Execute()
	if err == nil && !strings.Contains(out.String(), "kind: Deployment") {
		return fmt.Errorf("nothing was rendered")
	}
	return err
}

// hostError starts nothing: it reads a host's configuration with an environment variable.
func hostError(t *testing.T, name, value string) error {
	t.Helper()
	t.Setenv(name, value)
	_, err := config.Load("", pflag.NewFlagSet("", pflag.ContinueOnError))
	if err := os.Unsetenv(name); err != nil { // t.Setenv restores it
		t.Fatal(err)
	}
	return err
}

// chartError checks the chart's values with one of them changed.
func chartError(t *testing.T, schema *jsonschema.Schema, path string, v any) error {
	t.Helper()
	text, err := os.ReadFile(chart + "values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	at := values
	parts := strings.Split(path, ".")
	for _, p := range parts[:len(parts)-1] {
		at = at[p].(map[string]any)
	}
	if _, ok := at[parts[len(parts)-1]]; !ok {
		t.Fatalf("values.yaml has no %s", path)
	}
	at[parts[len(parts)-1]] = v
	return schema.Validate(values)
}

// TestValues sends the same values to `deploy render`, to the chart's schema and to a
// host. They agree on each.
func TestValues(t *testing.T) {
	text, err := os.ReadFile("../render/testdata/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all []setting
	if err := yaml.UnmarshalStrict(text, &all); err != nil || len(all) < 20 {
		t.Fatalf("%d settings, %v", len(all), err)
	}
	schema, err := jsonschema.NewCompiler().Compile(chart + "values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		t.Run(s.Chart, func(t *testing.T) {
			for _, v := range slices.Concat(s.Good, s.Bad, s.Own) {
				s.check(t, schema, v)
			}
		})
	}
}

func (s setting) check(t *testing.T, schema *jsonschema.Schema, v any) {
	t.Helper()
	value := fmt.Sprint(v)
	good := contains(s.Good, v)
	args := []string{"--" + s.Flag + "=" + value}
	if s.File != "" {
		file := filepath.Join(t.TempDir(), "pod.yaml")
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(s.File, "%s", value)), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--pod="+file)
		if s.Flag == "pod" {
			args = args[1:]
		}
	}
	err := renderError(args...)
	if (err == nil) != good {
		t.Errorf("%q: deploy render says %v", value, err)
	}
	if err != nil && !strings.Contains(err.Error(), s.Flag) {
		t.Errorf("%q: deploy render does not name the flag: %v", value, err)
	}
	shaped := v
	if s.Key != "" {
		shaped = map[string]any{s.Key: v}
	}
	if s.List {
		shaped = []any{shaped}
	}
	if err := chartError(t, schema, s.Chart, shaped); (err == nil) != good {
		t.Errorf("%q: the chart says %v", value, err)
	}
	if s.Env == "" || value == "" || contains(s.Own, v) { // an empty variable is not set
		return
	}
	if err := hostError(t, s.Env, value); (err == nil) != good {
		t.Errorf("%q: the host says %v", value, err)
	}
}

func contains(all []any, v any) bool {
	want, _ := json.Marshal(v)
	return slices.ContainsFunc(all, func(o any) bool {
		got, _ := json.Marshal(o)
		return bytes.Equal(got, want)
	})
}

// TestContradictions checks the rules that no schema can express.
func TestContradictions(t *testing.T) {
	open := filepath.Join(t.TempDir(), "pod.yaml")
	if err := os.WriteFile(open, []byte("egress: [{to: []}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"--replicas=0":                    "--max-replicas 0",
		"--replicas=20":                   "above --max-replicas 10",
		"--replicas=0 --max-replicas=0":   "",
		"--replicas=20 --max-replicas=0":  "",
		"--replicas=20 --max-replicas=20": "",
		"--gateway=infra/":                "--gateway",
		"--pod=" + open:                   "egress[0] of --pod has no to",
		"--trace-endpoint=http://x:4317":  "egress",
	} {
		err := renderError(strings.Fields(args)...)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// TestCheckedFlags checks values that the API server does not refuse, or too late.
func TestCheckedFlags(t *testing.T) {
	for want, w := range map[string]*wish{
		"--image":    {image: "https://x/y"},
		"--hostname": {hostnames: []string{"models.example.com", "https://x"}},
	} {
		if err := w.valid("cardio"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if err := (&wish{image: "x:1", hostnames: []string{"*.example.com"}}).valid("cardio"); err != nil {
		t.Error(err)
	}
	for args, want := range map[string]string{
		"":                        "",
		"--replicas=0":            "must be 1 to 10",
		"--namespace=A":           "--namespace",
		"--image=A":               "--image",
		"--image-pull-policy=No":  "Always, IfNotPresent, Never",
		"--image-pull-secret=a,B": "--image-pull-secret",
		"--prometheus-url=x:9090": "--prometheus-url",
	} {
		var out bytes.Buffer
		c := (&app{Options: Options{Out: &out, Image: "x:1"}}).install()
		c.SetArgs(append(strings.Fields(args), "--print"))
		c.SetOut(io.Discard)
		c.SetErr(io.Discard)
		err := c.Execute()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", args, err)
		}
	}
}
