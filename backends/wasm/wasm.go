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
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

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
	Compiler  string // the binary that compiles modules in CompileRole; empty: this one
	Log       *slog.Logger
}

// Backend opens modules.
type Backend struct {
	cfg         Config
	dir         string
	private     bool
	unavailable error

	version string // part of the name of each module's directory

	mu      sync.Mutex
	refused map[string]error // modules that cannot be compiled, by directory
}

var _ backends.Backend = (*Backend)(nil)

// New prepares the directory of compiled code. It never fails: Err says whether
// modules can be opened, and Open repeats it.
func New(cfg Config) *Backend {
	b := &Backend{cfg: cfg, version: codeVersion(), refused: map[string]error{}}
	if b.cfg.Instances < 1 {
		b.cfg.Instances = 1
	}
	var err error
	if cfg.CacheDir != "" {
		b.dir = cfg.CacheDir
		err = os.MkdirAll(b.dir, 0o700)
		sweep(b.dir)
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
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int64(s.Uid) != int64(os.Geteuid()) {
		return fmt.Errorf("%s belongs to user %d, not to this host's, %d", dir, s.Uid, os.Geteuid())
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
func (b *Backend) Complete(a backends.Artifact) error {
	m := a.Manifest
	if err := checkFeatures(m); err != nil {
		return fmt.Errorf("%w: %w", backends.ErrRefused, err)
	}
	if len(m.Features) > 0 && !m.Derived {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), m.Limits.LoadTimeout)
	defer cancel()
	p, err := b.load(ctx, m, a.Bytes)
	if err != nil {
		return err
	}
	defer p.close()
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

// load meters a module and compiles it, unless that was done before.
func (b *Backend) load(ctx context.Context, m *manifest.Manifest, artifact []byte) (*plugin, error) {
	if b.unavailable != nil {
		return nil, b.unavailable
	}
	sum := sha256.Sum256(artifact)
	dir := filepath.Join(b.dir, hex.EncodeToString(sum[:])+"-"+b.version)
	memory := m.Limits.Memory
	if b.cfg.MaxMemory > 0 {
		memory = min(memory, b.cfg.MaxMemory)
	}
	cfg := pluginConfig{cache: filepath.Join(dir, codeDir), memory: memory, seed: sum, log: b.cfg.Log.With("model_id", m.ID, "version", m.Version)}
	for again := false; ; again = true {
		var err error
		if cfg.module, err = b.prepare(ctx, dir, artifact); err != nil {
			return nil, err
		}
		p, err := newPlugin(ctx, cfg)
		switch {
		case err == nil:
			return p, nil
		case errors.Is(err, errCode) && !again:
			b.cfg.Log.Warn("compiled code is damaged; it is made anew", "directory", dir, "error", err)
			if err := os.RemoveAll(dir); err != nil {
				return nil, fmt.Errorf("removing damaged code: %w", err)
			}
		default:
			return nil, fmt.Errorf("%w: %w", backends.ErrRefused, err)
		}
	}
}

// prepare returns the metered form of a module, whose code lies in dir afterwards.
func (b *Backend) prepare(ctx context.Context, dir string, artifact []byte) ([]byte, error) {
	b.mu.Lock() // one at a time: compiling takes a processor and much memory
	defer b.mu.Unlock()
	if err, known := b.refused[dir]; known {
		return nil, err
	}
	file := filepath.Join(dir, meteredFile)
	if metered, err := readSealed(file); err == nil && hasCode(dir) {
		return metered, nil
	}
	metered, err := meter.Rewrite(artifact, meter.DefaultLimits())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", backends.ErrRefused, err)
	}
	// It appears as a whole: other hosts may use the same cache.
	tmp, err := os.MkdirTemp(b.dir, unfinished+"*")
	if err != nil {
		return nil, fmt.Errorf("writing to the cache: %w", err)
	}
	defer os.RemoveAll(tmp)
	code := filepath.Join(tmp, codeDir)
	if err := os.Mkdir(code, 0o700); err != nil {
		return nil, fmt.Errorf("writing to the cache: %w", err)
	}
	if err := compileInChild(ctx, b.cfg.Compiler, code, metered); err != nil {
		if ctx.Err() == nil && errors.Is(err, backends.ErrRefused) {
			b.refused[dir] = err
		}
		return nil, err
	}
	if err := writeSealed(filepath.Join(tmp, meteredFile), metered); err != nil {
		return nil, err
	}
	if _, err := readSealed(file); err == nil && hasCode(dir) { // another host was faster
		return metered, nil
	}
	if err := errors.Join(os.RemoveAll(dir), os.Rename(tmp, dir)); err != nil {
		return nil, fmt.Errorf("writing to the cache: %w", err)
	}
	return metered, nil
}

// hasCode reports whether the code of a module is there. Where it is not, the
// compiler must not run in this process.
func hasCode(dir string) bool {
	files, err := filepath.Glob(filepath.Join(dir, codeDir, "*", "*"))
	return err == nil && len(files) > 0
}

// What a module's directory in the cache holds, and how those begin that a host
// which was killed has left unfinished.
const (
	meteredFile = "metered.wasm"
	codeDir     = "code"
	unfinished  = ".new-"
)

// sweep removes what hosts that were killed have left in a cache.
func sweep(dir string) {
	const old = time.Hour
	left, _ := filepath.Glob(filepath.Join(dir, unfinished+"*"))
	for _, path := range left {
		if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > old {
			_ = os.RemoveAll(path) // it only takes room
		}
	}
}

// readSealed reads a file whose first bytes are the checksum of the others.
func readSealed(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the cache: %w", err)
	}
	if len(data) < sha256.Size || sha256.Sum256(data[sha256.Size:]) != [sha256.Size]byte(data) {
		return nil, fmt.Errorf("%s is damaged", file)
	}
	return data[sha256.Size:], nil
}

func writeSealed(file string, data []byte) error {
	sum := sha256.Sum256(data)
	if err := os.WriteFile(file, append(sum[:], data...), 0o600); err != nil {
		return fmt.Errorf("writing to the cache: %w", err)
	}
	return nil
}

// codeVersion names what decides on the code of a module, beside the module: the
// rewriter, the compiler and the platform.
func codeVersion() string {
	const compiler = "github.com/tetratelabs/wazero"
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == compiler {
				version = d.Version
			}
		}
	}
	return fmt.Sprintf("meter%d-wazero-%s-%s", meter.Version, version, runtime.GOARCH)
}
