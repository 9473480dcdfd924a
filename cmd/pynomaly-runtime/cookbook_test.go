package main

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

var updateCookbook = flag.Bool("update-cookbook", false, "write the scripts into the pages of the cookbook")

// recipe matches the place of a script in its page.
var recipe = regexp.MustCompile("(?s)(<!-- recipe: ([a-z_]+\\.py) -->\n```python\n)(.*?)(```\n)")

// TestCookbook checks that each page of the cookbook shows its script as it is, that each
// script has a page, that the index names all of them, and that make runs them.
func TestCookbook(t *testing.T) {
	dir := filepath.Join(testkit.Root(), "docs", "cookbook")
	scripts, err := filepath.Glob(filepath.Join(dir, "*.py"))
	if err != nil || len(scripts) < 8 {
		t.Fatalf("%d scripts: %v", len(scripts), err)
	}
	index, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := os.ReadFile(filepath.Join(testkit.Root(), "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, script := range scripts {
		name := strings.TrimSuffix(filepath.Base(script), ".py")
		code, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		page := filepath.Join(dir, name+".md")
		text, err := os.ReadFile(page)
		if err != nil {
			t.Errorf("%s has no page: %v", script, err)
			continue
		}
		m := recipe.FindSubmatch(text)
		switch {
		case m == nil || string(m[2]) != name+".py":
			t.Errorf("%s does not show %s.py", page, name)
		case string(m[3]) != string(code) && *updateCookbook:
			new := strings.Replace(string(text), string(m[0]), string(m[1])+string(code)+string(m[4]), 1)
			if err := os.WriteFile(page, []byte(new), 0o644); err != nil {
				t.Fatal(err)
			}
		case string(m[3]) != string(code):
			t.Errorf("%s shows another text than the script: run go test ./cmd/pynomaly-runtime -run TestCookbook -update-cookbook", page)
		}
		if !strings.Contains(string(index), "("+name+".md)") {
			t.Errorf("README.md does not name %s.md", name)
		}
		if !regexp.MustCompile(`(?m)^RECIPES.*\b` + name + `\b`).Match(rules) {
			t.Errorf("make does not run %s.py", name)
		}
	}
}
