package wasm

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/wasm/meter"
)

// cache is the directory of compiled code: one that is configured, which hosts may
// share and which outlives them, or a private one in TMPDIR.
type cache struct {
	configured string // empty: private

	mu   sync.Mutex
	dir  string
	lock *os.File // the private directory itself, locked while it is in use
}

// open returns the directory, which it makes anew where something has removed it,
// as systemd-tmpfiles does with what lies long in TMPDIR.
func (c *cache) open() (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usable(); err == nil {
		return c.dir, nil
	}
	err := c.make()
	if err != nil {
		return "", fmt.Errorf("%w: WASM models cannot be served: compiled code needs a directory that only the host can write: %w: set backends.wasm.cache_dir or TMPDIR", backends.ErrUnavailable, err)
	}
	return c.dir, nil
}

// usable reports why the directory is not, or no longer, what open has made. c is
// locked.
func (c *cache) usable() error {
	if c.dir == "" {
		return os.ErrNotExist
	}
	if c.lock != nil && !same(c.lock, c.dir) {
		return fmt.Errorf("%s was replaced: %w", c.dir, os.ErrNotExist)
	}
	return checkMode(c.dir)
}

// make makes the directory. c is locked.
func (c *cache) make() error {
	if c.configured != "" {
		if err := os.MkdirAll(c.configured, 0o700); err != nil {
			return err
		}
		sweepUnfinished(c.configured)
		if err := checkPrivate(c.configured); err != nil {
			return err
		}
		c.dir = c.configured
		return nil
	}
	if c.lock != nil {
		_ = c.lock.Close() // of a directory that is gone
		c.lock = nil
	}
	sweepPrivate(os.TempDir())
	var err error
	for range 10 { // another host that starts may sweep it before it is locked
		if c.dir, err = os.MkdirTemp("", privatePrefix+"*"); err != nil {
			c.dir = ""
			return err
		}
		if c.lock, err = lockDir(c.dir); err == nil {
			return checkPrivate(c.dir)
		}
	}
	c.dir = ""
	return err
}

// close removes a private directory.
func (c *cache) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lock == nil {
		return nil
	}
	err := errors.Join(os.RemoveAll(c.dir), c.lock.Close())
	c.dir, c.lock = "", nil
	if err != nil {
		return fmt.Errorf("removing compiled code: %w", err)
	}
	return nil
}

// privatePrefix begins the names of private directories.
const privatePrefix = "pynomaly-wasm-"

// lockDir locks a directory, which must still be there afterwards.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil && !same(f, dir) {
		err = fmt.Errorf("%s was removed", dir)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// same reports whether an open directory is the one of that name.
func same(f *os.File, dir string) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(dir)
	return err == nil && os.SameFile(open, named)
}

// sweepPrivate removes the private directories of hosts that are gone: those of this
// user that nobody holds locked.
func sweepPrivate(parent string) {
	left, _ := filepath.Glob(filepath.Join(parent, privatePrefix+"*"))
	for _, dir := range left {
		if checkMode(dir) != nil {
			continue
		}
		lock, err := lockDir(dir)
		if err != nil {
			continue
		}
		_ = os.RemoveAll(dir) // it only takes room
		_ = lock.Close()
	}
}

// checkPrivate refuses a directory that others can write: what lies there is run
// as native code.
func checkPrivate(dir string) error {
	if err := checkMode(dir); err != nil {
		return err
	}
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return fmt.Errorf("writing to the cache: %w", err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// checkMode is checkPrivate without a look at whether the directory can be written.
func checkMode(dir string) error {
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
	return nil
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

// sweepUnfinished removes what hosts that were killed have left in a cache.
func sweepUnfinished(dir string) {
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
		return writing(err)
	}
	return nil
}

// writing says that the cache could not be written, which is never the module's
// fault.
func writing(err error) error {
	return fmt.Errorf("%w: writing to the cache of compiled code: %w", backends.ErrSurroundings, err)
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
