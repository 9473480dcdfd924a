package backends

import (
	"fmt"
	"os"
	"path/filepath"
)

// Where returns the absolute path of an open file or directory, with all links
// followed. It asks the kernel about the descriptor, so that nobody can replace
// the file behind a name in the meantime.
func Where(f *os.File) (string, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return "", fmt.Errorf("finding the path of an open file: %w", err)
	}
	var path string
	var failed error
	err = conn.Control(func(fd uintptr) { path, failed = pathOf(fd) })
	switch {
	case err != nil:
		return "", fmt.Errorf("finding the path of an open file: %w", err)
	case failed != nil:
		return "", fmt.Errorf("%w: finding the path of an open file: %w", ErrSurroundings, failed)
	case !filepath.IsAbs(path):
		return "", fmt.Errorf("%w: the kernel returns no path of an open file: %q", ErrSurroundings, path)
	}
	return path, nil
}

// Within reports whether path, as returned by Where, is the directory above or
// lies below it. above may be relative; its links are followed. If above cannot
// be opened, Within returns false.
func Within(path, above string) bool {
	f, err := os.OpenFile(above, openPath, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	from, err := Where(f)
	if err != nil {
		return false
	}
	way, err := filepath.Rel(from, path)
	return err == nil && filepath.IsLocal(way)
}
