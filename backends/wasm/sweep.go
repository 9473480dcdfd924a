package wasm

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// privatePrefix begins the names of private directories, in TMPDIR.
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

// unfinished begins the names of what is being made in a cache.
const unfinished = ".new-"

// newName is a name for what is being made.
func newName() string { return unfinished + rand.Text() }

// sweepUnfinished removes what hosts that were killed have left in a cache.
func sweepUnfinished(root *os.Root) {
	const old = time.Hour
	left, _ := fs.ReadDir(root.FS(), ".")
	for _, e := range left {
		if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), unfinished) && time.Since(info.ModTime()) > old {
			_ = root.RemoveAll(e.Name()) // it only takes room
		}
	}
}

// checkMode refuses a directory of another user, or that others can use.
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
