package plugindev

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Built is what Build has written.
type Built struct {
	Path  string // of the module or program
	Bytes int64
	Took  time.Duration
}

// String says it in a sentence.
func (b *Built) String() string {
	return fmt.Sprintf("built %s: %d bytes in %.1f s", b.Path, b.Bytes, b.Took.Seconds())
}

// Build builds a project's module, and renews the digests in its manifest. It writes the
// output of the tools to log.
func Build(ctx context.Context, dir string, log io.Writer) (*Built, error) {
	start := time.Now()
	l, err := Detect(dir)
	if err != nil {
		return nil, err
	}
	module, err := l.build(ctx, dir, log)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(module)
	if err != nil {
		return nil, fmt.Errorf("the build wrote no %s", module)
	}
	if err := renewDigests(filepath.Join(dir, ModelDir)); err != nil {
		return nil, err
	}
	return &Built{module, info.Size(), time.Since(start)}, nil
}

// build runs a language's tools and returns the path of the module.
func (l Language) build(ctx context.Context, dir string, log io.Writer) (string, error) {
	for _, tool := range l.tools {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("%s is not installed; building plugins in %s needs it: %s", tool, l.Name, l.install)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, ModelDir), 0o755); err != nil { //nolint:gosec // a model is not secret
		return "", fmt.Errorf("making the model's folder: %w", err)
	}
	for _, c := range l.commands(dir) {
		cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...) //nolint:gosec // the commands are constants above
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
		cmd.Env = append(os.Environ(), c.env...)
		if err := cmd.Run(); err != nil {
			return "", fmt.Errorf("running %s: %w (see its output above; the tools for %s: %s)", strings.Join(c.args, " "), err, l.Name, l.install)
		}
	}
	module := filepath.Join(dir, ModelDir, l.Artifact)
	if l.Name == "python" {
		if err := pythonModel(dir, module); err != nil {
			return "", err
		}
	}
	if l.Name == "rust" {
		if err := newestModule(filepath.Join(dir, "target", "wasm32-unknown-unknown", "release"), module); err != nil {
			return "", err
		}
	}
	return module, nil
}

// commandLine matches the line of a manifest with the command.
var commandLine = regexp.MustCompile(`(?m)^command: \[[^,\]]*`)

// pythonModel copies the script into the model's folder and writes the project's
// interpreter into the manifest.
func pythonModel(dir, script string) error {
	data, err := os.ReadFile(filepath.Join(dir, filepath.Base(script)))
	if err != nil {
		return fmt.Errorf("reading the detector: %w", err)
	}
	if err := os.WriteFile(script, data, 0o644); err != nil { //nolint:gosec // source code is not secret
		return fmt.Errorf("writing the model: %w", err)
	}
	exe, err := filepath.Abs(filepath.Join(dir, venv, "bin", "python"))
	if err != nil {
		return fmt.Errorf("finding the interpreter: %w", err)
	}
	file := filepath.Join(dir, ModelDir, "model.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the manifest: %w", err)
	}
	text = commandLine.ReplaceAll(text, fmt.Appendf(nil, "command: [%q", exe))
	if err := os.WriteFile(file, text, 0o644); err != nil { //nolint:gosec // a model is not secret
		return fmt.Errorf("writing the manifest: %w", err)
	}
	return nil
}

// newestModule copies the module that cargo built, which has the name of the crate.
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
	if err := os.WriteFile(to, data, 0o644); err != nil { //nolint:gosec // a module is not secret
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
