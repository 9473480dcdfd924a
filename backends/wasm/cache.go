package wasm

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/wasm/meter"
	"github.com/pynomaly/pynomaly-runtime/internal/private"
)

// cache is the directory of compiled code. A configured one may be shared by hosts
// and outlives them; otherwise it is a private one in TMPDIR.
type cache struct {
	configured string // empty: use a private directory

	mu   sync.Mutex
	home home
	lock *os.File // the private directory itself, locked while it is in use
}

// home is an open directory of compiled code. Files are accessed through its
// descriptor, whatever happens to its name.
type home struct {
	root *os.Root
	dir  string // its name
	key  []byte // seals the entries
}

// open returns the directory. It makes the directory again if something has removed
// it, as systemd-tmpfiles does with old files in TMPDIR. Each time it checks that no
// other user can change the directory or one above it.
func (c *cache) open() (home, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.usable() == nil {
		return c.home, nil
	}
	if err := c.make(); err != nil {
		c.home = home{}
		return home{}, fmt.Errorf("%w: WASM models cannot be served: compiled code needs a directory that only the host can write: %w: set backends.wasm.cache_dir or TMPDIR", backends.ErrUnavailable, err)
	}
	return c.home, nil
}

// usable returns an error if the directory is not, or no longer, the one that make
// made. c is locked.
func (c *cache) usable() error {
	if c.home.root == nil {
		return fs.ErrNotExist
	}
	if _, err := os.Lstat(c.home.dir); err != nil {
		return err
	}
	again, err := c.openDir(c.home.dir)
	if err != nil {
		return err
	}
	defer again.Close()
	there, err1 := again.Stat(".")
	kept, err2 := c.home.root.Stat(".")
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if !os.SameFile(there, kept) {
		return fmt.Errorf("%s was replaced: %w", c.home.dir, fs.ErrNotExist)
	}
	return nil
}

// make makes the directory. c is locked. A call that uses the former directory keeps
// that open.
func (c *cache) make() error {
	dir := c.configured
	if dir == "" {
		var err error
		if dir, err = c.makePrivate(); err != nil {
			return err
		}
	}
	root, err := c.openDir(dir)
	if err != nil {
		if c.configured == "" {
			_ = os.Remove(dir)
		}
		return err
	}
	c.home = home{root: root, dir: dir}
	if c.configured == "" { // no other host uses it
		c.home.key = make([]byte, keySize)
		_, _ = rand.Read(c.home.key)
		return nil
	}
	sweepUnfinished(root)
	if c.home.key, err = readKey(root); err != nil {
		c.home = home{}
		return errors.Join(err, root.Close())
	}
	return nil
}

// openDir opens the directory. No other user may be able to change a configured
// directory or one above it. The host's private one may lie where others can write,
// such as in a container's temporary directory, because the entries are sealed with
// a key that only this host has.
func (c *cache) openDir(dir string) (*os.Root, error) {
	if c.configured == "" {
		return private.OpenOwn(dir)
	}
	return private.Open(dir)
}

// makePrivate makes and locks a directory in TMPDIR. c is locked.
func (c *cache) makePrivate() (string, error) {
	if c.lock != nil {
		_ = c.lock.Close() // of a directory that is gone
		c.lock = nil
	}
	sweepPrivate(os.TempDir())
	var err error
	for range 10 { // another starting host may sweep it before it is locked
		var dir string
		if dir, err = os.MkdirTemp("", privatePrefix+"*"); err != nil {
			return "", err
		}
		if c.lock, err = lockDir(dir); err == nil {
			return dir, nil
		}
	}
	return "", err
}

// close removes a private directory.
func (c *cache) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	if c.lock != nil {
		errs = append(errs, os.RemoveAll(c.home.dir), c.lock.Close())
	}
	if c.home.root != nil {
		errs = append(errs, c.home.root.Close())
	}
	c.home, c.lock = home{}, nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing the cache of compiled code: %w", err)
	}
	return nil
}

// writing wraps an error of writing to the cache, which is never the module's fault.
func writing(err error) error {
	return fmt.Errorf("%w: writing to the cache of compiled code: %w", backends.ErrSurroundings, err)
}

// codeVersion identifies everything besides the module that determines its code: the
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
