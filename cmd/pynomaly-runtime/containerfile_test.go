package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestContainerfile checks the image with Python: process.md shows its files as they are,
// what it copies exists, it starts as the project's own image does, and its host allows
// the models that pods mount.
func TestContainerfile(t *testing.T) {
	root := testkit.Root()
	page, err := os.ReadFile(filepath.Join(root, "docs", "process.md"))
	if err != nil {
		t.Fatal(err)
	}
	for name, language := range map[string]string{"Containerfile": "dockerfile", "plugins.yaml": "yaml"} {
		text, err := os.ReadFile(filepath.Join(root, "docs", "cookbook", name))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(page), "```"+language+"\n"+string(text)+"```\n") {
			t.Errorf("process.md shows another %s", name)
		}
	}
	own := map[string]string{}
	for _, s := range readDockerfile(t, "Dockerfile") {
		if s.stage == "release" {
			own[s.name] = s.args
		}
	}
	seen := map[string]bool{}
	for _, s := range readDockerfile(t, filepath.Join("docs", "cookbook", "Containerfile")) {
		seen[s.name] = true
		switch s.name {
		case "COPY":
			if parts := strings.Fields(s.args); !strings.HasPrefix(s.args, "--from=host") {
				if _, err := os.Stat(filepath.Join(root, parts[0])); err != nil || ignored(t, parts[0]) {
					t.Errorf("%s is not in the build context: %v", parts[0], err)
				}
			} else if parts[len(parts)-2] != own["WORKDIR"] {
				t.Errorf("%s: the host is in %s", s.args, own["WORKDIR"])
			}
		case "WORKDIR", "USER", "ENV", "EXPOSE", "ENTRYPOINT", "CMD":
			if s.args != own[s.name] {
				t.Errorf("%s is %s, that of the project's image %s", s.name, s.args, own[s.name])
			}
		}
	}
	for _, name := range []string{"COPY", "RUN", "WORKDIR", "USER", "ENV", "ENTRYPOINT", "CMD"} {
		if !seen[name] {
			t.Errorf("there is no %s", name)
		}
	}
	c, err := config.Read(filepath.Join(root, "docs", "cookbook", "plugins.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	mounted := func(a config.Allowed) bool { return a.Path == "/models" }
	if p := c.Backends.Process; !p.Enabled || !slices.ContainsFunc(p.Allow, mounted) {
		t.Errorf("%+v", p)
	}
}
