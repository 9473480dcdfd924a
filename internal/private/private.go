// Package private opens directories that no other user can change or replace.
package private

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrExposed means that another user could change what is below a directory. The
// error's text names the directory or link at fault.
var ErrExposed = errors.New("the directory is not private")

// maxLinks is how many symbolic links Open follows, like the kernel.
const maxLinks = 40

// Open opens dir. It makes dir and its parents with mode 0700 if they do not exist.
// It walks from the root of the file system by descriptor, so that it opens what it
// has checked. The error is an ErrExposed
//   - unless this user owns dir and nobody else may read or write it,
//   - unless this user or root owns every directory on the way, and nobody else
//     may write to it; others may write to a directory with the sticky bit, such
//     as /tmp, because they cannot rename what this user or root has put there,
//   - unless this user or root owns every symbolic link on the way.
//
// The caller closes the returned Root.
func Open(dir string) (*os.Root, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("finding directory %s: %w", dir, err)
	}
	w := &walk{rest: split(abs), links: maxLinks}
	if err := w.start(); err != nil {
		return nil, err
	}
	defer func() { w.close() }()
	for len(w.rest) > 0 {
		if err := w.step(); err != nil {
			return nil, err
		}
	}
	if err := w.checkLast(); err != nil {
		return nil, err
	}
	root, err := rootOf(w.fds[len(w.fds)-1], w.path())
	if err != nil {
		return nil, fmt.Errorf("opening directory %s: %w", abs, err)
	}
	return root, nil
}

// OpenOwn opens a directory that this process has just made, in any place. This user
// must own it, and nobody else may read or write it. Another user who can write to a
// parent can rename the directory and put another one in its place. So the caller
// must use only the returned Root to access files, and close it.
func OpenOwn(dir string) (*os.Root, error) {
	fd, err := unix.Open(dir, openPath|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening directory %s: %w", dir, err)
	}
	w := &walk{fds: []int{fd}, names: split(dir)}
	defer w.close()
	if err := w.checkLast(); err != nil {
		return nil, err
	}
	root, err := rootOf(fd, dir)
	if err != nil {
		return nil, fmt.Errorf("opening directory %s: %w", dir, err)
	}
	return root, nil
}

// OpenFile opens a file for reading in a place where other users may write. The
// error is an ErrExposed unless it is a regular file, not a link, that this user or
// root owns. OpenFile does not block if somebody has put a pipe there.
func OpenFile(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("%w: %s is a link", ErrExposed, name)
	}
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the file
	}
	var stat unix.Stat_t
	switch err = unix.Fstat(int(f.Fd()), &stat); {
	case err != nil:
		err = fmt.Errorf("checking %s: %w", name, err)
	case stat.Mode&unix.S_IFMT != unix.S_IFREG:
		err = fmt.Errorf("%w: %s is not a regular file", ErrExposed, name)
	case !ours(&stat):
		err = fmt.Errorf("%w: user %d owns %s", ErrExposed, stat.Uid, name)
	default:
		return f, nil
	}
	return nil, errors.Join(err, f.Close())
}

// walk is a position in the file system: a descriptor for each directory from the
// root, and the names that remain to be followed.
type walk struct {
	fds   []int
	names []string // of fds after the first
	rest  []string
	links int // how many more may be followed
}

func split(p string) []string {
	return strings.FieldsFunc(p, func(r rune) bool { return r == '/' })
}

func (w *walk) path() string { return "/" + path.Join(w.names...) }

func (w *walk) close() {
	for _, fd := range w.fds {
		_ = unix.Close(fd)
	}
	w.fds, w.names = nil, nil
}

func (w *walk) start() error {
	w.close()
	fd, err := unix.Open("/", openPath|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening /: %w", err)
	}
	w.fds = []int{fd}
	return nil
}

// step checks the current directory and follows the next name in it.
func (w *walk) step() error {
	name := w.rest[0]
	w.rest = w.rest[1:]
	if name == "." {
		return nil
	}
	if name == ".." {
		if n := len(w.names); n > 0 {
			_ = unix.Close(w.fds[n])
			w.fds, w.names = w.fds[:n], w.names[:n-1]
		}
		return nil
	}
	here := w.fds[len(w.fds)-1]
	if err := checkOnTheWay(here, w.path()); err != nil {
		return err
	}
	const flags = openLink | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(here, name, flags, 0)
	if errors.Is(err, unix.ENOENT) {
		if err = unix.Mkdirat(here, name, 0o700); err == nil || errors.Is(err, unix.EEXIST) {
			fd, err = unix.Openat(here, name, flags, 0)
		}
	}
	at := path.Join(w.path(), name)
	if err != nil {
		return fmt.Errorf("opening directory %s: %w", at, err)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return errors.Join(fmt.Errorf("checking %s: %w", at, err), unix.Close(fd))
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		w.fds, w.names = append(w.fds, fd), append(w.names, name)
		return nil
	case unix.S_IFLNK:
		return errors.Join(w.follow(fd, &stat, at), unix.Close(fd))
	default:
		return errors.Join(fmt.Errorf("opening directory %s: %w", at, unix.ENOTDIR), unix.Close(fd))
	}
}

// follow inserts the target of a symbolic link before the remaining names.
func (w *walk) follow(fd int, stat *unix.Stat_t, at string) error {
	if w.links--; w.links < 0 {
		return fmt.Errorf("opening directory %s: %w", at, unix.ELOOP)
	}
	if !ours(stat) {
		return fmt.Errorf("%w: user %d owns the link %s and can point it elsewhere", ErrExposed, stat.Uid, at)
	}
	buf := make([]byte, unix.PathMax)
	n, err := readLink(fd, at, buf)
	if err != nil {
		return fmt.Errorf("reading the link %s: %w", at, err)
	}
	target := string(buf[:n])
	w.rest = append(split(target), w.rest...)
	if strings.HasPrefix(target, "/") {
		return w.start()
	}
	return nil
}

// ours reports whether this user or root owns a file.
func ours(stat *unix.Stat_t) bool { return stat.Uid == 0 || int(stat.Uid) == os.Geteuid() }

func checkOnTheWay(fd int, at string) error {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return fmt.Errorf("checking %s: %w", at, err)
	}
	switch {
	case !ours(&stat):
		return fmt.Errorf("%w: user %d owns %s and can replace what is in it", ErrExposed, stat.Uid, at)
	case stat.Mode&0o022 != 0 && stat.Mode&unix.S_ISVTX == 0:
		return fmt.Errorf("%w: others can write to %s (mode %04o): change that with chmod go-w", ErrExposed, at, stat.Mode&0o7777)
	}
	return nil
}

func (w *walk) checkLast() error {
	var stat unix.Stat_t
	if err := unix.Fstat(w.fds[len(w.fds)-1], &stat); err != nil {
		return fmt.Errorf("checking %s: %w", w.path(), err)
	}
	switch {
	case int(stat.Uid) != os.Geteuid():
		return fmt.Errorf("%w: user %d owns %s but this process runs as user %d", ErrExposed, stat.Uid, w.path(), os.Geteuid())
	case stat.Mode&0o077 != 0:
		return fmt.Errorf("%w: others can read or write %s (mode %04o): change that with chmod go-rwx", ErrExposed, w.path(), stat.Mode&0o7777)
	}
	return nil
}
