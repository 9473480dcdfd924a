// Package wasm opens detectors that are WebAssembly modules: metered, in a
// sandbox without files or network, compiled in a process of their own.
//
// The interface between host and module is docs/wasm.md's; how a module is
// metered is package meter's.
package wasm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/wasm/meter"
	"github.com/pynomaly/pynomaly-runtime/internal/child"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Config says how modules are run.
type Config struct {
	CacheDir  string         // of compiled code; empty: a private one that Close removes
	MaxMemory int64          // of one instance, in bytes; limits.memory may be lower
	Instances int            // of one module at once
	Compiler  string         // the binary that compiles modules in CompileRole; empty: this one
	Limiter   *child.Limiter // of the processes that compile; nil: none
	Log       *slog.Logger
}

// Backend opens modules.
type Backend struct {
	cfg         Config
	cache       cache
	unavailable error  // at the start
	version     string // part of the name of each module's directory
	compiling   child.Keys
}

var _ backends.Backend = (*Backend)(nil)

// New prepares the directory of compiled code. It never fails: Err says whether
// modules could be opened; Open tries again.
func New(cfg Config) *Backend {
	b := &Backend{cfg: cfg, version: codeVersion(), cache: cache{configured: cfg.CacheDir}}
	if b.cfg.Instances < 1 {
		b.cfg.Instances = 1
	}
	_, b.unavailable = b.cache.open()
	return b
}

// Err says why no module could be opened at the start, or is nil.
func (b *Backend) Err() error { return b.unavailable }

// Close removes the private directory.
func (b *Backend) Close() error { return b.cache.close() }

// Complete takes the features, the threshold and the texts that the manifest
// leaves to the module from what it says of itself.
func (b *Backend) Complete(ctx context.Context, a backends.Artifact) error {
	m := a.Manifest
	if err := checkFeatures(m); err != nil {
		return fmt.Errorf("%w: %w", backends.ErrRefused, err)
	}
	if len(m.Features) > 0 && !m.Derived {
		return nil
	}
	p, err := b.load(ctx, m, a.Bytes)
	if err != nil {
		return err
	}
	defer p.close()
	ctx, cancel := context.WithTimeout(ctx, m.Limits.LoadTimeout)
	defer cancel()
	d, err := p.ask(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", backends.ErrRefused, err)
	}
	if err := d.Complete(m); err != nil {
		return fmt.Errorf("%w: %w", backends.ErrRefused, err)
	}
	return nil
}

// checkFeatures refuses what does not fit into a matrix of numbers.
func checkFeatures(m *manifest.Manifest) error {
	for _, f := range m.Features {
		if f.DType == sdk.String {
			return fmt.Errorf("feature %q is a string: WASM models take numbers and truth values; use the onnx or process backend", f.Name)
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

// load meters a module and compiles it, unless that was done before. Compiling has
// bounds of its own, which do not depend on the manifest.
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
		dir := filepath.Join(home, name)
		cfg.cache = filepath.Join(dir, codeDir)
		if cfg.module, err = b.prepare(ctx, home, dir, artifact); err != nil {
			return nil, err
		}
		p, err := newPlugin(ctx, cfg)
		switch {
		case err == nil:
			return p, nil
		case errors.Is(err, errCode) && (backends.Surroundings(err) || again && errors.Is(err, fs.ErrNotExist)):
			return nil, fmt.Errorf("%w: %w", backends.ErrSurroundings, err)
		case errors.Is(err, errCode) && !again:
			b.cfg.Log.Warn("compiled code is damaged; it is made anew", "directory", dir, "error", err)
			if err := os.RemoveAll(dir); err != nil {
				return nil, writing(err)
			}
		default:
			return nil, fmt.Errorf("%w: %w", backends.ErrRefused, err)
		}
	}
}

// prepare returns the metered form of a module, whose code lies in dir afterwards.
func (b *Backend) prepare(ctx context.Context, home, dir string, artifact []byte) ([]byte, error) {
	unlock, err := b.compiling.Lock(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	file := filepath.Join(dir, meteredFile)
	if metered, err := readSealed(file); err == nil && hasCode(dir) {
		return metered, nil
	}
	metered, err := meter.Rewrite(artifact, meter.DefaultLimits())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", backends.ErrRefused, err)
	}
	// It appears as a whole: other hosts may use the same cache.
	tmp, err := os.MkdirTemp(home, unfinished+"*")
	if err != nil {
		return nil, writing(err)
	}
	defer os.RemoveAll(tmp)
	code := filepath.Join(tmp, codeDir)
	if err := os.Mkdir(code, 0o700); err != nil {
		return nil, writing(err)
	}
	if err := compileInChild(ctx, b.cfg, code, metered); err != nil {
		return nil, err
	}
	if err := writeSealed(filepath.Join(tmp, meteredFile), metered); err != nil {
		return nil, err
	}
	if _, err := readSealed(file); err == nil && hasCode(dir) { // another host was faster
		return metered, nil
	}
	if err := errors.Join(os.RemoveAll(dir), os.Rename(tmp, dir)); err != nil {
		return nil, writing(err)
	}
	return metered, nil
}
