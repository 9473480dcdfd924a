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
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/wasm/meter"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Config says how modules are run.
type Config struct {
	CacheDir  string // of compiled code; empty: a private one that Close removes
	MaxMemory int64  // of one instance, in bytes; limits.memory may be lower
	Instances int    // of one module at once
	Log       *slog.Logger
}

// Backend opens modules.
type Backend struct {
	cfg         Config
	dir         string
	private     bool
	unavailable error

	mu       sync.Mutex
	compiled map[string]error // by digest of the metered module: what came of compiling it
}

var _ backends.Backend = (*Backend)(nil)

// New prepares the directory of compiled code. It never fails: Err says whether
// modules can be opened, and Open repeats it.
func New(cfg Config) *Backend {
	b := &Backend{cfg: cfg, compiled: map[string]error{}}
	if b.cfg.Instances < 1 {
		b.cfg.Instances = 1
	}
	var err error
	if cfg.CacheDir != "" {
		b.dir = cfg.CacheDir
		err = os.MkdirAll(b.dir, 0o700)
	} else {
		b.dir, err = os.MkdirTemp("", "pynomaly-wasm-*")
		b.private = err == nil
	}
	if err == nil {
		err = checkPrivate(b.dir)
	}
	if err != nil {
		b.unavailable = fmt.Errorf("%w: WASM models cannot be served: compiled code needs a directory that only the host can write: %w: set backends.wasm.cache_dir or TMPDIR", backends.ErrUnavailable, err)
	}
	return b
}

// checkPrivate refuses a directory that others can write: what lies there is run
// as native code.
func checkPrivate(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("looking at the cache: %w", err)
	}
	if mode := info.Mode().Perm(); !info.IsDir() || mode&0o077 != 0 {
		return fmt.Errorf("%s has mode %v, not 0700", dir, mode)
	}
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return fmt.Errorf("writing to the cache: %w", err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// Err says why modules cannot be opened, or is nil.
func (b *Backend) Err() error { return b.unavailable }

// Close removes the private directory.
func (b *Backend) Close() error {
	if !b.private {
		return nil
	}
	if err := os.RemoveAll(b.dir); err != nil {
		return fmt.Errorf("removing compiled code: %w", err)
	}
	return nil
}

// Complete takes the features, the threshold and the texts that the manifest
// leaves to the module from what it says of itself.
func (b *Backend) Complete(m *manifest.Manifest, artifact []byte) error {
	if err := checkFeatures(m); err != nil {
		return fmt.Errorf("%w: %w", backends.ErrRefused, err)
	}
	if len(m.Features) > 0 && !m.Derived {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), m.Limits.LoadTimeout)
	defer cancel()
	p, err := b.load(ctx, m, artifact)
	if err != nil {
		return err
	}
	defer p.close()
	d, err := p.ask(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", backends.ErrRefused, err)
	}
	if err := d.complete(m); err != nil {
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
	ctx, cancel := context.WithTimeout(ctx, a.Manifest.Limits.LoadTimeout)
	defer cancel()
	p, err := b.load(ctx, a.Manifest, a.Bytes)
	if err != nil {
		return nil, err
	}
	s, err := newScorer(ctx, b.cfg, p, a)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", backends.ErrRefused, err), p.close())
	}
	return s, nil
}

// load meters a module and compiles it, once a process.
func (b *Backend) load(ctx context.Context, m *manifest.Manifest, artifact []byte) (*plugin, error) {
	if b.unavailable != nil {
		return nil, b.unavailable
	}
	metered, err := meter.Rewrite(artifact, meter.DefaultLimits())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", backends.ErrRefused, err)
	}
	memory := m.Limits.Memory
	if b.cfg.MaxMemory > 0 {
		memory = min(memory, b.cfg.MaxMemory)
	}
	sum := sha256.Sum256(metered)
	if err := b.compile(ctx, hex.EncodeToString(sum[:]), metered); err != nil {
		return nil, err
	}
	seed := sha256.Sum256(artifact)
	p, err := newPlugin(ctx, pluginConfig{
		module: metered, cache: filepath.Join(b.dir, "code"), memory: memory, seed: seed,
		log: b.cfg.Log.With("model_id", m.ID, "version", m.Version),
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", backends.ErrRefused, err)
	}
	return p, nil
}

// compile has a module compiled into the cache by a process of its own.
func (b *Backend) compile(ctx context.Context, key string, metered []byte) error {
	b.mu.Lock() // one at a time: it takes a processor and much memory
	defer b.mu.Unlock()
	if err, done := b.compiled[key]; done {
		return err
	}
	err := compileInChild(ctx, filepath.Join(b.dir, "code"), metered)
	if ctx.Err() == nil {
		b.compiled[key] = err
	}
	return err
}
