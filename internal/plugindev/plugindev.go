// Package plugindev makes and builds plugin projects, for `plugin new` and `plugin
// build`. It does not open or check modules.
package plugindev

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// Where a project has its model, and the module of a WASM plugin within the model.
const (
	ModelDir = "model"
	Module   = "detector.wasm"
)

// Sources are the SDKs that are copied into projects.
type Sources struct {
	SDK     fs.FS // sdk.Source
	Process fs.FS // Source of sdk/process
}

// Language is a language of plugins, in one of two forms.
type Language struct {
	Name     string
	Process  bool   // a process plugin; otherwise a WASM module
	Artifact string // in ModelDir
	marker   string // a file that identifies a project of this language
	sdk      string // its folder in the SDK's source
	tools    []string
	install  string // how to install the tools
	commands func(dir string) []command
}

// command is one step of a build.
type command struct {
	args []string
	env  []string
}

// Languages returns all languages.
func Languages() []Language {
	return []Language{
		{
			Name: "go", Process: true, Artifact: "detector", marker: "serve.go", tools: []string{"go"}, install: "https://go.dev/dl",
			commands: func(string) []command {
				out := path.Join(ModelDir, "detector")
				return []command{{
					args: []string{"go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "."},
					env:  []string{"GOFLAGS=-mod=mod", "GOWORK=off"},
				}}
			},
		},
		{
			Name: "python", Process: true, Artifact: "detector.py", marker: "detector.py", tools: []string{"python3"}, install: "https://www.python.org; Debian: apt-get install python3-venv",
			commands: func(dir string) []command {
				install := command{args: []string{path.Join(venv, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"}}
				if _, err := os.Stat(filepath.Join(dir, venv, "bin", "pip")); err == nil {
					return []command{install}
				}
				return []command{{args: []string{"python3", "-m", "venv", venv}}, install}
			},
		},
		{
			Name: "go", Artifact: Module, marker: "go.mod", tools: []string{"go"}, install: "https://go.dev/dl",
			commands: func(string) []command {
				out := path.Join(ModelDir, Module)
				return []command{{
					args: []string{"go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", out, "."},
					env:  []string{"GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GOWORK=off"},
				}}
			},
		},
		{
			Name: "rust", Artifact: Module, marker: "Cargo.toml", sdk: "guest/rust", tools: []string{cargo()}, install: "https://rustup.rs, then `rustup target add wasm32-unknown-unknown`; Debian: apt-get install cargo libstd-rust-dev-wasm32",
			commands: func(string) []command {
				return []command{{args: []string{cargo(), "build", "--release", "--target", "wasm32-unknown-unknown", "--target-dir", "target"}}}
			},
		},
		{
			Name: "c", Artifact: Module, marker: "detector.c", sdk: "guest/c", tools: []string{"make", "clang", "wasm-ld"}, install: "Debian: apt-get install make clang lld wasi-libc libclang-rt-14-dev-wasm32",
			commands: func(string) []command { return []command{{args: []string{"make"}}} },
		},
		{
			Name: "assemblyscript", Artifact: Module, marker: "asconfig.json", sdk: "guest/assemblyscript", tools: []string{"npm"}, install: "https://nodejs.org",
			commands: func(dir string) []command {
				build := command{args: []string{"npm", "run", "--silent", "build"}}
				if _, err := os.Stat(filepath.Join(dir, "node_modules")); err == nil {
					return []command{build}
				}
				return []command{{args: []string{"npm", "install", "--no-audit", "--no-fund", "--silent"}}, build}
			},
		},
	}
}

// cargo returns the name of Rust's build tool, which Cargo's own variable may
// change.
func cargo() string {
	if c := os.Getenv("CARGO"); c != "" {
		return c
	}
	return "cargo"
}

// venv is the folder of a Python project's interpreter.
const venv = ".venv"

// Names lists the languages of process plugins or of WASM modules.
func Names(process bool) []string {
	var out []string
	for _, l := range Languages() {
		if l.Process == process {
			out = append(out, l.Name)
		}
	}
	return out
}

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

const (
	templates    = "guest/templates"
	templateName = "my-detector" // replaced with the project's name
	maxName      = 64
)

// New writes a project into dir, which must not exist yet. If process is set, it is
// a process plugin, otherwise a WASM module. The name becomes the model's id.
func New(from Sources, language string, process bool, name, dir string) (err error) {
	source := from.SDK
	at := slices.IndexFunc(Languages(), func(l Language) bool { return l.Name == language && l.Process == process })
	if at < 0 {
		if slices.Contains(Names(!process), language) {
			return fmt.Errorf("--lang %s does not support this kind of plugin: choose one of %s with --process, or one of %s without it", language, strings.Join(Names(true), ", "), strings.Join(Names(false), ", "))
		}
		return fmt.Errorf("--lang is %q: choose one of %s, or with --process of %s", language, strings.Join(Names(false), ", "), strings.Join(Names(true), ", "))
	}
	if !namePattern.MatchString(name) || len(name) > maxName {
		return fmt.Errorf("%q is not a valid plugin name: use up to %d lowercase letters, digits and -, beginning with a letter", name, maxName)
	}
	if _, err := os.Lstat(dir); err == nil {
		return fmt.Errorf("%s exists already: choose another name or --dir", dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // source code is not secret
		return fmt.Errorf("making the project: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("writing the project: %w", err), os.RemoveAll(dir))
		}
	}()
	l := Languages()[at]
	if err := copyTree(source, path.Join(templates, language), dir, name); err != nil {
		return err
	}
	if err := copyTree(source, path.Join(templates, "model"), filepath.Join(dir, ModelDir), name); err != nil {
		return err
	}
	to := filepath.Join(dir, "pynomaly")
	switch {
	case l.Process:
		return l.process(from, dir, to, name)
	case l.sdk != "":
		return copyTree(source, l.sdk, to, name)
	}
	return copyGoSDK(source, to)
}

// process adds the parts of a process plugin to its language's template.
func (l Language) process(from Sources, dir, to, name string) error {
	artifact := "artifact: " + l.Artifact
	if l.Name == "python" {
		artifact += "\ncommand: [python3, " + l.Artifact + "]\nlimits: {memory: 1GiB}"
	}
	if err := edit(filepath.Join(dir, ModelDir, "model.yaml"), [2]string{"backend: wasm", "backend: process"}, [2]string{"artifact: " + Module, artifact}); err != nil {
		return err
	}
	if l.Name == "python" {
		return copyTree(from.SDK, "python", to, "")
	}
	// The detector is the same as in a module. Only the main function differs.
	if err := copyTree(from.SDK, templates+"/go-process", dir, name); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, "main.go")); err != nil {
		return err
	}
	sums, err := fs.ReadFile(from.Process, "go.sum")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o644); err != nil { //nolint:gosec // source code is not secret
		return err
	}
	return errors.Join(copyGoSDK(from.SDK, to), copyTree(from.Process, ".", filepath.Join(to, "process"), ""))
}

// edit replaces texts in a file. Each of them must occur in it.
func edit(file string, pairs ...[2]string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		if !bytes.Contains(data, []byte(p[0])) {
			return fmt.Errorf("%s does not contain %q", file, p[0])
		}
		data = bytes.Replace(data, []byte(p[0]), []byte(p[1]), 1)
	}
	return os.WriteFile(file, data, 0o644) //nolint:gosec // a model is not secret
}

// copyTree copies a folder. It removes the suffix ".tmpl" from names, and restores
// the leading dot of names that embedded files cannot have.
func copyTree(source fs.FS, from, to, name string) error {
	return fs.WalkDir(source, from, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		file := filepath.Join(to, strings.TrimSuffix(strings.TrimPrefix(p, from+"/"), ".tmpl"))
		if base := path.Base(p); base == "gitignore.tmpl" || base == "npmrc.tmpl" {
			file = filepath.Join(filepath.Dir(file), "."+strings.TrimSuffix(base, ".tmpl"))
		}
		return copyFile(source, p, file, name)
	})
}

// copyGoSDK copies the SDK's Go packages as a module.
func copyGoSDK(source fs.FS, to string) error {
	return fs.WalkDir(source, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (p == "guest" || p == "python"):
			return fs.SkipDir
		case d.IsDir(), strings.HasSuffix(p, "_test.go"), p == "source.go": // it embeds files that are not copied
			return nil
		}
		return copyFile(source, p, filepath.Join(to, p), "")
	})
}

func copyFile(source fs.FS, from, to, name string) error {
	data, err := fs.ReadFile(source, from)
	if err != nil {
		return err
	}
	if name != "" {
		data = bytes.ReplaceAll(data, []byte(templateName), []byte(name))
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // source code is not secret
		return err
	}
	return os.WriteFile(to, data, 0o644) //nolint:gosec // source code is not secret
}

// Detect returns the language of a project.
func Detect(dir string) (Language, error) {
	for _, l := range Languages() {
		if _, err := os.Stat(filepath.Join(dir, l.marker)); err == nil {
			return l, nil
		}
	}
	var markers []string
	for _, l := range Languages() {
		markers = append(markers, l.marker)
	}
	return Language{}, fmt.Errorf("%s is not a plugin project: it has none of %s; `plugin new` makes one", dir, strings.Join(markers, ", "))
}

// ModelPath returns the folder of a project's model, which must have been built. It
// renews the digests in the project's manifest: its author may have changed files since.
// It returns any other path unchanged: a model's directory holds a manifest itself, and
// may hold a detector.py as projects do.
func ModelPath(path string) (string, error) {
	if _, err := os.Stat(filepath.Join(path, manifest.FileName)); err == nil {
		return path, nil
	}
	l, err := Detect(path)
	if err != nil {
		return path, nil //nolint:nilerr // not a project: a model's directory or file
	}
	path = filepath.Join(path, ModelDir)
	if _, err := os.Stat(filepath.Join(path, l.Artifact)); err != nil {
		return "", fmt.Errorf("%s does not exist: run `plugin build` first", filepath.Join(path, l.Artifact))
	}
	return path, renewDigests(path)
}
