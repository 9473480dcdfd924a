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

// privatePrefix begins the names of private directories in TMPDIR.
const privatePrefix = "pynomaly-wasm-"

// lockDir locks a directory and checks that it still exists.
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

// same reports whether an open directory still has the given name.
func same(f *os.File, dir string) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(dir)
	return err == nil && os.SameFile(open, named)
}

// sweepPrivate removes the private directories of hosts that are gone: those that
// belong to this user and are not locked.
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
		_ = os.RemoveAll(dir) // failing leaves an unused directory
		_ = lock.Close()
	}
}

// unfinished begins the names of incomplete entries in a cache.
const unfinished = ".new-"

// newName returns a name for an incomplete entry.
func newName() string { return unfinished + rand.Text() }

// sweepUnfinished removes the incomplete entries of killed hosts.
func sweepUnfinished(root *os.Root) {
	const old = time.Hour
	left, _ := fs.ReadDir(root.FS(), ".")
	for _, e := range left {
		if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), unfinished) && time.Since(info.ModTime()) > old {
			_ = root.RemoveAll(e.Name()) // failing leaves an unused directory
		}
	}
}

// checkMode refuses a directory that belongs to another user or that others can use.
func checkMode(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("checking the cache: %w", err)
	}
	if mode := info.Mode().Perm(); !info.IsDir() || mode&0o077 != 0 {
		return fmt.Errorf("%s has mode %v, not 0700", dir, mode)
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int64(s.Uid) != int64(os.Geteuid()) {
		return fmt.Errorf("%s belongs to user %d, not to the host's user %d", dir, s.Uid, os.Geteuid())
	}
	return nil
}
