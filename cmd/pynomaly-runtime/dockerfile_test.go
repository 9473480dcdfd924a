package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// step is an instruction of a Dockerfile.
type step struct{ stage, name, args string }

func readDockerfile(t *testing.T, file string) []step {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testkit.Root(), file))
	if err != nil {
		t.Fatal(err)
	}
	var all []step
	stage := ""
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
		name, args, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		if name == "FROM" {
			_, stage, _ = strings.Cut(args, " AS ")
		}
		all = append(all, step{stage, name, args})
	}
	return all
}

// ignored reports whether the build context leaves out a file.
func ignored(t *testing.T, file string) bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testkit.Root(), ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(file, "/")
	for pattern := range strings.Lines(string(text)) {
		pattern = strings.TrimSpace(pattern)
		if pattern == "" || strings.HasPrefix(pattern, "#") {
			continue
		}
		name, anywhere := strings.CutPrefix(pattern, "**/")
		for n := range parts {
			whole := strings.Join(parts[:n+1], "/")
			if ok, _ := filepath.Match(name, parts[n]); ok && anywhere {
				return true
			}
			if ok, _ := filepath.Match(pattern, whole); ok {
				return true
			}
		}
	}
	return false
}

// TestBuildContext checks that Docker gets the sources, and nothing that is built or
// fetched.
func TestBuildContext(t *testing.T) {
	for _, name := range []string{".git/HEAD", "bin/pynomaly-runtime", "dist/x.tar", "models/m/1.0.0/model.yaml", ".python/x", ".python-plugin/bin/python", "sdk/python/__pycache__/x", "cpu.prof"} {
		if !ignored(t, name) {
			t.Errorf("the build context has %s", name)
		}
	}
	for _, name := range []string{"go.mod", "testdata/models/pima-lof/1.0.0/model.yaml", "runtime/model.go", "sdk/process/go.sum"} {
		if ignored(t, name) {
			t.Errorf("the build context lacks %s", name)
		}
	}
}

// imageBuild is a build stage that runs without Docker.
type imageBuild struct {
	t       *testing.T
	context string
	root    string // of the stage's file system
	dir     string // its working directory
	states  map[string]bool
}

// at returns where a path of the stage is on this machine.
func (b *imageBuild) at(name string) string {
	if strings.HasPrefix(name, "/") {
		return filepath.Join(b.root, name)
	}
	return filepath.Join(b.dir, name)
}

func (b *imageBuild) run(text string) {
	b.t.Helper()
	cmd := exec.Command("sh", "-ec", text)
	cmd.Dir, cmd.Env = b.dir, append(os.Environ(), "GOWORK=off", "MAKEFLAGS=", "MAKELEVEL=")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("%s: %v\n%s", text, err, out)
	}
}

func (b *imageBuild) mkdir(name string) {
	b.t.Helper()
	if err := os.MkdirAll(name, 0o755); err != nil {
		b.t.Fatal(err)
	}
}

// build does a step of the building stage.
func (b *imageBuild) build(s step) {
	b.t.Helper()
	switch s.name {
	case "FROM":
		text, err := os.ReadFile(filepath.Join(b.context, "go.mod"))
		if tag := regexp.MustCompile(`golang:([0-9.]+)-`).FindStringSubmatch(s.args); err != nil || tag == nil || !strings.Contains(string(text), "\ngo "+tag[1]) {
			b.t.Errorf("the Dockerfile builds with %s, which is not go.mod's", s.args)
		}
	case "WORKDIR":
		b.dir = b.at(s.args)
		b.mkdir(b.dir)
	case "COPY":
		fields := strings.Fields(s.args)
		to := b.at(fields[len(fields)-1])
		b.mkdir(to)
		for _, name := range fields[:len(fields)-1] {
			source := filepath.Join(b.context, name)
			if info, err := os.Stat(source); err == nil && info.IsDir() {
				source += "/."
			}
			b.run("cp -R " + source + " " + to)
		}
	case "RUN":
		switch {
		case strings.HasPrefix(s.args, "apt-get"): // takes root, and the image
		case strings.HasPrefix(s.args, "make") && !full():
			b.run("go list -deps ./cmd/pynomaly-runtime ./plugins/... > /dev/null; make -n " + strings.TrimPrefix(s.args, "make"))
		default:
			b.run(s.args)
		}
	}
}

// take checks a step of a stage that copies from the building stage.
func (b *imageBuild) take(s step) {
	b.t.Helper()
	switch s.name {
	case "COPY":
		fields := strings.Fields(s.args)
		for _, name := range fields[:len(fields)-1] {
			if !strings.HasPrefix(name, "/src") || strings.HasPrefix(name, "/src/bin/") && name != "/src/bin/state" && !full() {
				continue
			}
			if _, err := os.Stat(b.at(name)); err != nil {
				b.t.Errorf("the stage %s copies what is not there: %v", s.stage, err)
			}
		}
		if slices.Contains(fields, "--chown=65532:65532") && fields[len(fields)-1] == "./state" {
			b.states[s.stage] = true
		}
	case "ENV":
		if s.args != "PYNOMALY_STATE_DIR=/app/state" {
			b.t.Errorf("the stage %s has %s", s.stage, s.args)
		}
	case "USER":
		if s.args != "65532:65532" {
			b.t.Errorf("the stage %s runs as %s", s.stage, s.args)
		}
	}
}

// TestDockerfile does the work of the Dockerfile's first stage without Docker, and
// checks what the other stages copy from it. Only with PYNOMALY_TEST_FULL=1 it
// builds; otherwise it lists the packages, which needs the same files.
func TestDockerfile(t *testing.T) {
	root := t.TempDir()
	b := &imageBuild{t: t, context: checkout(t), root: root, dir: root, states: map[string]bool{}}
	for _, s := range readDockerfile(t, "Dockerfile") {
		if s.stage == "build" {
			b.build(s)
		} else {
			b.take(s)
		}
	}
	if fmt.Sprint(b.states) != "map[debug:true release:true]" {
		t.Errorf("/app/state is made for its user in the stages %v", b.states)
	}
}
