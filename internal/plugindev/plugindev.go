// Package plugindev makes and builds plugin projects: what `plugin new` and
// `plugin build` do. Opening and checking modules is the host's, which this
// package knows nothing of.
package plugindev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Where a project has its model, and in it the module.
const (
	ModelDir = "model"
	Module   = "detector.wasm"
)

// Language is one that plugins are written in.
type Language struct {
	Name     string
	marker   string // the file that tells a project of this language
	sdk      string // its folder in the SDK's source
	tools    []string
	install  string // how to get the tools
	commands func(dir string) []command
}

// command is one step of a build.
type command struct {
	args []string
	env  []string
}

// Languages are all of them.
func Languages() []Language {
	return []Language{
		{
			Name: "go", marker: "go.mod", tools: []string{"go"}, install: "https://go.dev/dl",
			commands: func(string) []command {
				out := path.Join(ModelDir, Module)
				return []command{{
					args: []string{"go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", out, "."},
					env:  []string{"GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GOWORK=off"},
				}}
			},
		},
		{
			Name: "rust", marker: "Cargo.toml", sdk: "guest/rust", tools: []string{cargo()}, install: "https://rustup.rs, then `rustup target add wasm32-unknown-unknown`; Debian: apt-get install cargo libstd-rust-dev-wasm32",
			commands: func(string) []command {
				return []command{{args: []string{cargo(), "build", "--release", "--target", "wasm32-unknown-unknown", "--target-dir", "target"}}}
			},
		},
		{
			Name: "c", marker: "detector.c", sdk: "guest/c", tools: []string{"make", "clang", "wasm-ld"}, install: "Debian: apt-get install make clang lld wasi-libc libclang-rt-14-dev-wasm32",
			commands: func(string) []command { return []command{{args: []string{"make"}}} },
		},
		{
			Name: "assemblyscript", marker: "asconfig.json", sdk: "guest/assemblyscript", tools: []string{"npm"}, install: "https://nodejs.org",
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

// cargo is Rust's build tool: as the environment says, as Cargo itself has it.
func cargo() string {
	if c := os.Getenv("CARGO"); c != "" {
		return c
	}
	return "cargo"
}

// Names lists the languages.
func Names() []string {
	var out []string
	for _, l := range Languages() {
		out = append(out, l.Name)
	}
	return out
}

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

const (
	templates    = "guest/templates"
	templateName = "my-detector" // replaced by the project's name
	maxName      = 64
)

// New writes a project into dir, which must not be there yet. The name becomes the
// model's id; source is sdk.Source.
func New(source fs.FS, language, name, dir string) (err error) {
	at := slices.IndexFunc(Languages(), func(l Language) bool { return l.Name == language })
	if at < 0 {
		return fmt.Errorf("--lang is %q: choose one of %s", language, strings.Join(Names(), ", "))
	}
	if !namePattern.MatchString(name) || len(name) > maxName {
		return fmt.Errorf("%q is no name of a plugin: use small letters, digits and -, beginning with a letter, at most %d", name, maxName)
	}
	if _, err := os.Lstat(dir); err == nil {
		return fmt.Errorf("%s is there already: choose another name or --dir", dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // source code is no secret
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
	if l.sdk != "" {
		return copyTree(source, l.sdk, filepath.Join(dir, "pynomaly"), name)
	}
	return copyGoSDK(source, filepath.Join(dir, "pynomaly"))
}

// copyTree copies a folder; names lose ".tmpl", and what an embedded file cannot be
// called gets its leading dot back.
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

// copyGoSDK copies the Go packages of the SDK as a module of their own.
func copyGoSDK(source fs.FS, to string) error {
	return fs.WalkDir(source, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p == "guest":
			return fs.SkipDir
		case d.IsDir(), strings.HasSuffix(p, "_test.go"), p == "source.go": // which embeds what is left out
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
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // source code is no secret
		return err
	}
	return os.WriteFile(to, data, 0o644) //nolint:gosec // source code is no secret
}

// Detect finds the language of a project.
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
	return Language{}, fmt.Errorf("%s is no plugin project: it has none of %s; `plugin new` makes one", dir, strings.Join(markers, ", "))
}

// Build builds a project's module and returns its path. What the tools print goes
// to log.
func Build(ctx context.Context, dir string, log io.Writer) (string, error) {
	l, err := Detect(dir)
	if err != nil {
		return "", err
	}
	for _, tool := range l.tools {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("%s is not installed, which plugins in %s are built with: %s", tool, l.Name, l.install)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, ModelDir), 0o755); err != nil { //nolint:gosec // a model is no secret
		return "", fmt.Errorf("making the model's folder: %w", err)
	}
	for _, c := range l.commands(dir) {
		cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...) //nolint:gosec // the commands stand above
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
		cmd.Env = append(os.Environ(), c.env...)
		if err := cmd.Run(); err != nil {
			return "", fmt.Errorf("running %s: %w (what it said stands above; the tools for %s: %s)", strings.Join(c.args, " "), err, l.Name, l.install)
		}
	}
	module := filepath.Join(dir, ModelDir, Module)
	if l.Name == "rust" {
		if err := newestModule(filepath.Join(dir, "target", "wasm32-unknown-unknown", "release"), module); err != nil {
			return "", err
		}
	}
	if _, err := os.Stat(module); err != nil {
		return "", fmt.Errorf("the build wrote no %s", module)
	}
	return module, nil
}

// newestModule copies what cargo built: the module is called as the crate is.
func newestModule(from, to string) error {
	all, err := filepath.Glob(filepath.Join(from, "*.wasm"))
	if err != nil || len(all) == 0 {
		return fmt.Errorf("cargo left no module in %s: the crate needs crate-type = [\"cdylib\"]", from)
	}
	newest := slices.MaxFunc(all, func(a, b string) int { return modified(a).Compare(modified(b)) })
	data, err := os.ReadFile(newest)
	if err != nil {
		return fmt.Errorf("reading the module: %w", err)
	}
	if err := os.WriteFile(to, data, 0o644); err != nil { //nolint:gosec // a module is no secret
		return fmt.Errorf("writing the module: %w", err)
	}
	return nil
}

func modified(file string) time.Time {
	info, err := os.Stat(file)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
