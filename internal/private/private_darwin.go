package private

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Directories are opened to be searched, and links as themselves.
const (
	openPath = unix.O_RDONLY
	openLink = unix.O_RDONLY | unix.O_SYMLINK
)

// rootOf opens the directory of a descriptor by its path, and refuses another one that
// has been put there.
func rootOf(fd int, path string) (*os.Root, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	var want, got unix.Stat_t
	f, err := root.Open(".")
	if err == nil {
		err = errors.Join(unix.Fstat(fd, &want), unix.Fstat(int(f.Fd()), &got), f.Close())
	}
	if err == nil && (want.Dev != got.Dev || want.Ino != got.Ino) {
		err = fmt.Errorf("%w: %s was exchanged while it was opened", ErrExposed, path)
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return root, nil
}

// readLink reads a link by its path; its owner is one who may change it anyway.
func readLink(_ int, path string, buf []byte) (int, error) { return unix.Readlink(path, buf) }
