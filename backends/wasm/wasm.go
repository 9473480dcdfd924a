// Package wasm opens detectors that are WebAssembly modules. They are metered, run
// in a sandbox without files or network, and are compiled in a child process.
//
// docs/wasm.md describes the interface between host and module. Package meter meters
// modules.
package wasm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/wasm/meter"
	"github.com/pynomaly/pynomaly-runtime/internal/child"
	"github.com/pynomaly/pynomaly-runtime/internal/strictyaml"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Config says how modules are run.
type Config struct {
	CacheDir  string         // directory of compiled code; empty: a private one that Close removes
	MaxMemory int64          // of one instance, in bytes; limits.memory may be lower
	Instances int            // of one module at once
	Compiler  string         // the binary that compiles modules in CompileRole; empty: this one
	Limiter   *child.Limiter // limits the compiling processes; nil: no limit
	Log       *slog.Logger
}

// Backend opens modules.
type Backend struct {
	cfg         Config
	cache       cache
	unavailable error  // the error at the start
	version     string // part of the name of each module's directory
	compiling   child.Keys
}

var _ backends.Backend = (*Backend)(nil)

// New prepares the directory of compiled code. It never fails: Err returns the
// error, and Open tries again.
func New(cfg Config) *Backend {
	b := &Backend{cfg: cfg, version: codeVersion(), cache: cache{configured: cfg.CacheDir}}
	if b.cfg.Instances < 1 {
		b.cfg.Instances = 1
	}
	_, b.unavailable = b.cache.open()
	return b
}

// Err returns why no module could be opened at the start, or nil.
func (b *Backend) Err() error { return b.unavailable }

// Close removes the private directory.
func (b *Backend) Close() error { return b.cache.close() }

// Inspect returns the features, the threshold and the texts that the manifest leaves to
// the module, as the module says of itself.
func (b *Backend) Inspect(ctx context.Context, a backends.Artifact) (manifest.Derived, error) {
	m, none := a.Manifest, manifest.Derived{}
	if err := checkFeatures(m); err != nil {
		return none, fmt.Errorf("%w: %w", backends.ErrRefused, &backends.OwnError{Err: err})
	}
	if len(m.Features) > 0 && !m.Derived {
		return none, nil
	}
	p, err := b.load(ctx, m, a.Bytes)
	if err != nil {
		return none, err
	}
	defer p.close()
	ctx, cancel := context.WithTimeout(ctx, m.Limits.LoadTimeout)
	defer cancel()
	d, err := p.ask(ctx)
	if err != nil {
		return none, fmt.Errorf("%w: %w", backends.ErrRefused, err)
	}
	out, err := d.Derive(m)
	if err != nil {
		return none, fmt.Errorf("%w: %w", backends.ErrRefused, err)
	}
	return out, nil
}

// Check refuses a module that no host compiles.
func Check(a backends.Artifact) error {
	err := checkFeatures(a.Manifest)
	if err == nil {
		err = new(Backend).fits(a.Manifest, a.Manifest.Limits.Memory, a.Bytes)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", backends.ErrRefused, &backends.OwnError{Err: err})
	}
	return nil
}

// checkFeatures refuses features that do not fit into a matrix of numbers.
func checkFeatures(m *manifest.Manifest) error {
	for _, f := range m.Features {
		if f.DType == sdk.String {
			return fmt.Errorf("feature %q is a string: WASM models take numbers and booleans; use the onnx or process backend", f.Name)
		}
	}
	return nil
}

// Open meters, compiles and starts a module.
func (b *Backend) Open(ctx context.Context, a backends.Artifact) (sdk.Scorer, error) {
	p, err := b.load(ctx, a.Manifest, a.Bytes)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.Manifest.Limits.LoadTimeout)
	defer cancel()
	s, err := newScorer(ctx, b.cfg, p, a)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", backends.ErrRefused, err), p.close())
	}
	return s, nil
}

// load meters and compiles a module unless the cache has it. The limits of compiling
// do not depend on the manifest.
func (b *Backend) load(ctx context.Context, m *manifest.Manifest, artifact []byte) (*plugin, error) {
	sum := sha256.Sum256(artifact)
	name := hex.EncodeToString(sum[:]) + "-" + b.version
	memory := m.Limits.Memory
	if b.cfg.MaxMemory > 0 {
		memory = min(memory, b.cfg.MaxMemory)
	}
	cfg := pluginConfig{memory: memory, seed: sum, log: b.cfg.Log.With("model_id", m.ID, "version", m.Version)}
	for again := false; ; again = true {
		home, err := b.cache.open()
		if err != nil {
			return nil, err
		}
		e, err := b.prepare(ctx, home, name, artifact)
		if err != nil {
			return nil, err
		}
		cfg.module, cfg.cache = e.metered, pathOf(e.code)
		if err := b.fits(m, memory, artifact); err != nil {
			_ = e.code.Close() // it was only read
			return nil, fmt.Errorf("%w: %w", backends.ErrRefused, &backends.OwnError{Err: err})
		}
		p, err := newPlugin(ctx, cfg)
		_ = e.code.Close() // it was only read
		switch {
		case err == nil:
			return p, nil
		case errors.Is(err, errCode) && (backends.Surroundings(err) || again && errors.Is(err, fs.ErrNotExist)):
			return nil, fmt.Errorf("%w: %w", backends.ErrSurroundings, err)
		case errors.Is(err, errCode) && !again:
			b.cfg.Log.Warn("compiled code cannot be used; the module is compiled again", "directory", filepath.Join(home.dir, name), "error", err)
			if err := home.root.RemoveAll(name); err != nil {
				return nil, writing(err)
			}
		default:
			return nil, fmt.Errorf("%w: %w", backends.ErrRefused, err)
		}
	}
}

// fits refuses a module that begins with more memory than it may have.
func (b *Backend) fits(m *manifest.Manifest, memory int64, artifact []byte) error {
	least, err := meter.LeastMemory(artifact)
	if err != nil || least <= memory {
		return err
	}
	which := fmt.Sprintf("limits.memory is %s: raise it in model.yaml (the host's limits.max.memory bounds it)", strictyaml.FormatBytes(m.Limits.Memory))
	if most := b.cfg.MaxMemory; most > 0 && most < m.Limits.Memory {
		which = fmt.Sprintf("backends.wasm.max_memory is %s: raise it in the host's configuration", strictyaml.FormatBytes(most))
	} else if most > 0 && least > most {
		which += fmt.Sprintf("; the host's backends.wasm.max_memory is %s: raise it, too", strictyaml.FormatBytes(most))
	}
	return fmt.Errorf("the module begins with %s of memory; %s; or build the module with less", strictyaml.FormatBytes(least), which)
}

// prepare returns the cache's entry of a module. It makes one if there is none.
func (b *Backend) prepare(ctx context.Context, home home, name string, artifact []byte) (*entry, error) {
	unlock, err := b.compiling.Lock(ctx, filepath.Join(home.dir, name))
	if err != nil {
		return nil, err
	}
	defer unlock()
	e, err := home.openEntry(name)
	if err == nil {
		return e, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		b.cfg.Log.Warn("compiled code cannot be used; the module is compiled again", "directory", filepath.Join(home.dir, name), "error", err)
	}
	metered, err := meter.Rewrite(artifact, meter.DefaultLimits())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", backends.ErrRefused, &backends.OwnError{Err: err})
	}
	// The rename makes the entry appear complete: other hosts may use the same
	// cache.
	tmp := newName()
	defer func() { _ = home.root.RemoveAll(tmp) }() // sweepUnfinished removes what stays
	if err := b.compile(ctx, home, tmp, name, metered); err != nil {
		return nil, err
	}
	if e, err := home.openEntry(name); err == nil { // another host was faster
		return e, nil
	}
	if err := errors.Join(home.root.RemoveAll(name), home.root.Rename(tmp, name)); err != nil {
		return nil, writing(err)
	}
	if e, err = home.openEntry(name); err != nil {
		return nil, fmt.Errorf("%w: %w", backends.ErrSurroundings, err)
	}
	return e, nil
}

// compile makes an entry under a temporary name.
func (b *Backend) compile(ctx context.Context, home home, tmp, name string, metered []byte) error {
	code := filepath.Join(tmp, codeDir)
	if err := home.root.MkdirAll(code, 0o700); err != nil {
		return writing(err)
	}
	if err := compileInChild(ctx, b.cfg, filepath.Join(home.dir, code), metered); err != nil {
		return err
	}
	dir, err := home.root.OpenRoot(tmp)
	if err != nil {
		return writing(err)
	}
	defer dir.Close()
	switch err := home.seal(dir, name, metered); {
	case errors.Is(err, backends.ErrRefused):
		return err
	case err != nil:
		return writing(err)
	}
	return nil
}
