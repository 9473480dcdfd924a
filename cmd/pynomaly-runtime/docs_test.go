package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

func pages(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(testkit.Root(), "docs", "*.md"))
	if err != nil || len(files) < 5 {
		t.Fatalf("%d pages: %v", len(files), err)
	}
	recipes, err := filepath.Glob(filepath.Join(testkit.Root(), "docs", "cookbook", "*.md"))
	if err != nil || len(recipes) < 8 {
		t.Fatalf("%d recipes: %v", len(recipes), err)
	}
	out := map[string]string{}
	for _, file := range slices.Concat(files, recipes, housePages()) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out[file] = string(text)
	}
	return out
}

// housePages returns the pages outside docs.
func housePages() []string {
	names := []string{"README.md", "CHANGELOG.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "examples/README.md"}
	for i, name := range names {
		names[i] = filepath.Join(testkit.Root(), name)
	}
	return names
}

var (
	link     = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	flagName = regexp.MustCompile("`(--[a-z-]+)`")
	block    = regexp.MustCompile("(?s)```yaml\n(.*?)```")
	// Blocks for Kubernetes, which tests of deployer/render read.
	objects = regexp.MustCompile("(?s)<!-- yaml: [a-z]+ -->\n```yaml\n.*?```")
	mention = regexp.MustCompile("`(server|models|backends|log)\\.([a-z_.]+)(: [a-z]+)?`")
)

// TestDocumentation checks in all pages that links have targets, that flags and keys
// exist, and that manifests are valid.
func TestDocumentation(t *testing.T) {
	sample, err := os.ReadFile(filepath.Join(testkit.Root(), "plugins.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if err := yaml.Unmarshal(sample, &keys); err != nil {
		t.Fatal(err)
	}
	flags := map[string]bool{}
	var collect func(*cobra.Command)
	collect = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) { flags[f.Name] = true })
		for _, sub := range c.Commands() {
			collect(sub)
		}
	}
	collect(newCommand(nil, nil, nil))
	for file, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", filepath.Base(file), m[1], err)
			}
		}
		for _, m := range flagName.FindAllStringSubmatch(text, -1) {
			if !flags[strings.TrimPrefix(m[1], "--")] {
				t.Errorf("%s names the flag %s, which no command has", filepath.Base(file), m[1])
			}
		}
		for _, m := range mention.FindAllStringSubmatch(text, -1) {
			at, ok := keys[m[1]].(map[string]any)
			for _, part := range strings.Split(m[2], ".") {
				if at == nil {
					ok = false
					break
				}
				_, ok = at[part]
				at, _ = at[part].(map[string]any)
			}
			if !ok {
				t.Errorf("%s names the key %s.%s, which plugins.yaml does not show", filepath.Base(file), m[1], m[2])
			}
		}
		for _, m := range block.FindAllStringSubmatch(objects.ReplaceAllString(text, ""), -1) {
			var err error
			if strings.HasPrefix(m[1], "spec:") || strings.HasPrefix(m[1], "apiVersion: monitoring") {
				continue // of Kubernetes: deployer/cli reads them
			}
			if strings.HasPrefix(m[1], "apiVersion: pynomaly.io") {
				_, err = manifest.Decode([]byte(m[1]))
			} else {
				_, err = config.Decode([]byte(m[1]))
			}
			if err != nil {
				t.Errorf("%s: %v in\n%s", filepath.Base(file), err, m[1])
			}
		}
	}
}

var (
	testName = regexp.MustCompile(`\b(Test|Fuzz|Benchmark)[A-Z]\w*`)
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z]\w*)\(`)
)

// TestDocumentedTestsExist checks that every test that a page names exists.
func TestDocumentedTestsExist(t *testing.T) {
	there := map[string]bool{}
	if err := filepath.WalkDir(testkit.Root(), func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != testkit.Root() && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bin"):
			return fs.SkipDir
		case !strings.HasSuffix(file, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(file)
		for _, m := range testFunc.FindAllSubmatch(text, -1) {
			there[string(m[1])] = true
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	named := 0
	for file, text := range pages(t) {
		for _, name := range testName.FindAllString(text, -1) {
			if named++; !there[name] {
				t.Errorf("%s names %s, which is no test", filepath.Base(file), name)
			}
		}
	}
	if named < 20 {
		t.Errorf("only %d tests are named", named)
	}
}

var metric = regexp.MustCompile(`\bmodel_[a-z_]+[a-z]`)

// TestDocumentedMetricsExist checks that a host with a model exports every metric
// that a page or an alert names.
func TestDocumentedMetricsExist(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(testkit.Root(), "docs", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var alerts struct {
		Groups []struct {
			Rules []struct{ Alert, Expr, For string }
		}
	}
	if err := yaml.Unmarshal(text, &alerts); err != nil {
		t.Fatal(err)
	}
	if len(alerts.Groups) == 0 || len(alerts.Groups[0].Rules) < 3 {
		t.Fatalf("alerts: %+v", alerts)
	}
	dir := t.TempDir()
	testkit.CopyModel(t, dir, "mammography-gmm", "m", "1.0.0", nil)
	testkit.CopyModel(t, dir, "ecod-rust", "module", "1.0.0", nil)
	testkit.WriteFaulty(t, dir, "program", "", "")
	exported := exportedMetrics(t, dir)
	named := strings.Join([]string{string(text), pages(t)[filepath.Join(testkit.Root(), "docs", "operations.md")]}, "\n")
	labels := map[string]bool{"model_id": true, "model_version": true}
	for _, name := range metric.FindAllString(named, -1) {
		if base := strings.TrimSuffix(name, "_bucket"); !labels[name] && !exported[base] && !exported[name] {
			t.Errorf("%s is not exported", name)
		}
	}
}

// exportedMetrics returns the names of the metrics of a real host that serves dir,
// with models m, module and program, after one request.
func exportedMetrics(t *testing.T, dir string) map[string]bool {
	t.Helper()
	config := filepath.Join(t.TempDir(), "plugins.yaml")
	text := fmt.Sprintf("backends: {process: {enabled: true, user: %q, allow: [{path: %s}]}}\n", testkit.PluginUser(), dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	address, stop := startServe(t, "--config", config, "--models", dir, "--port", "0", "--drain", "0s", "--state-dir", stateForTests(t))
	defer stop()
	for _, id := range []string{"m", "module", "program"} {
		fetch(t, "http://"+address+"/api/v1/models/"+id+"/load", "POST", "")
	}
	fetch(t, "http://"+address+"/api/v1/predict", "POST", `{"model_id":"m","data":[1,2,3,4,5,6]}`)
	fetch(t, "http://"+address+"/api/v1/predict", "POST", `{"model_id":"m","data":[1]}`)
	writeBroken(t, dir)
	out := map[string]bool{}
	testkit.Eventually(t, "the broken model is counted", func() bool {
		for line := range strings.Lines(fetch(t, "http://"+address+"/metrics", "GET", "")) {
			if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
				name, _, _ = strings.Cut(name, " ")
				out[name] = true
			}
		}
		return out["model_load_failures_total"]
	})
	return out
}
