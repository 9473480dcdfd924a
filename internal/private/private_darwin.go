package private

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Directories are opened for searching, and links are not followed.
const (
	openPath = unix.O_RDONLY
	openLink = unix.O_RDONLY | unix.O_SYMLINK
)

// rootOf opens the directory of a descriptor by its path. It fails if another
// directory is there now.
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
		err = fmt.Errorf("%w: %s was replaced while it was opened", ErrExposed, path)
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return root, nil
}

// readLink reads a link by its path. Only the link's owner could have replaced it.
func readLink(_ int, path string, buf []byte) (int, error) { return unix.Readlink(path, buf) }
