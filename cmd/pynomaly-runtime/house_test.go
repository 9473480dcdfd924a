package main

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// text reads a file of the repository.
func text(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testkit.Root(), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var (
	makeTarget = regexp.MustCompile(`(?m)^([a-z0-9-]+):`)
	madeInline = regexp.MustCompile("`make ((?:[a-z0-9-]+ ?)+)")
	madeLine   = regexp.MustCompile(`(?m)^make ((?:[a-z0-9-]+ ?)+)`)
	madeByCI   = regexp.MustCompile(`run: make ((?:[a-z0-9-]+ ?)+)`)
)

// TestMakeTargets: what pages and workflows let make make is a target, and `make help`
// names it.
func TestMakeTargets(t *testing.T) {
	targets := map[string]bool{}
	for _, m := range makeTarget.FindAllStringSubmatch(text(t, "Makefile"), -1) {
		targets[m[1]] = true
	}
	list := exec.CommandContext(t.Context(), "make", "help")
	list.Dir = testkit.Root()
	help, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"help", "check", "run", "test", "cross", "release", "clean"} {
		if !strings.Contains("\n"+string(help), "\n"+want+" ") {
			t.Errorf("make help does not name %s", want)
		}
	}
	all := pages(t)
	for _, name := range []string{"ci.yml", "release.yml"} {
		all[name] = text(t, filepath.Join(".github", "workflows", name))
	}
	named := 0
	for page, content := range all {
		for _, by := range []*regexp.Regexp{madeInline, madeLine, madeByCI} {
			for _, m := range by.FindAllStringSubmatch(content, -1) {
				for _, target := range strings.Fields(m[1]) {
					if named++; !targets[target] {
						t.Errorf("%s says make %s, which is no target", filepath.Base(page), target)
					}
				}
			}
		}
	}
	if named < 30 {
		t.Errorf("only %d targets are named", named)
	}
}

// TestWorkflow: the workflow runs each part of .ci/run.
func TestWorkflow(t *testing.T) {
	var ci struct {
		Jobs map[string]struct {
			Strategy struct {
				Matrix struct{ Part []string }
			}
		}
	}
	if err := yaml.Unmarshal([]byte(text(t, ".github/workflows/ci.yml")), &ci); err != nil {
		t.Fatal(err)
	}
	parts := regexp.MustCompile(`set -- ([a-z0-9 ]+)`).FindStringSubmatch(text(t, ".ci/run"))
	if parts == nil || !slices.Equal(strings.Fields(parts[1]), ci.Jobs["part"].Strategy.Matrix.Part) {
		t.Errorf(".ci/run has the parts %q, the workflow %q", parts, ci.Jobs["part"].Strategy.Matrix.Part)
	}
}

// TestDependabot: every module of the repository is kept up to date.
func TestDependabot(t *testing.T) {
	var bot struct {
		Updates []struct {
			Ecosystem   string `yaml:"package-ecosystem"`
			Directories []string
		}
	}
	if err := yaml.Unmarshal([]byte(text(t, ".github/dependabot.yml")), &bot); err != nil {
		t.Fatal(err)
	}
	list := exec.CommandContext(t.Context(), "git", "ls-files", "go.mod", "*/go.mod")
	list.Dir = testkit.Root()
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range bot.Updates {
		if u.Ecosystem != "gomod" {
			continue
		}
		for _, name := range strings.Fields(string(out)) {
			dir := path.Join("/", path.Dir(name))
			if !slices.Contains(u.Directories, dir) && !strings.Contains(dir, "/testdata/") && !strings.Contains(dir, "/templates/") {
				t.Errorf("dependabot does not look at %s", dir)
			}
		}
	}
}

// TestShellScripts: every script is one that the shell can read.
func TestShellScripts(t *testing.T) {
	scripts, err := filepath.Glob(filepath.Join(testkit.Root(), "scripts", "*.sh"))
	if err != nil || len(scripts) < 8 {
		t.Fatalf("%d scripts: %v", len(scripts), err)
	}
	for _, script := range scripts {
		if out, err := exec.CommandContext(t.Context(), "bash", "-n", script).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", filepath.Base(script), err, out)
		}
	}
}
