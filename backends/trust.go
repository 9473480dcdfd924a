package backends

import (
	"fmt"
	"os"
	"path/filepath"
)

// Where returns the absolute path of an open file or directory, with all links
// followed. It asks the kernel about the descriptor, so that nobody can exchange what
// a name stands for in between.
func Where(f *os.File) (string, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return "", fmt.Errorf("asking where a file is: %w", err)
	}
	var path string
	var failed error
	err = conn.Control(func(fd uintptr) { path, failed = pathOf(fd) })
	switch {
	case err != nil:
		return "", fmt.Errorf("asking where a file is: %w", err)
	case failed != nil:
		return "", fmt.Errorf("%w: asking where a file is: %w", ErrSurroundings, failed)
	case !filepath.IsAbs(path):
		return "", fmt.Errorf("%w: the kernel does not tell where a file is: %q", ErrSurroundings, path)
	}
	return path, nil
}

// Within reports whether path, as Where returned it, is the directory above or lies
// below it. above may be relative, and its links are followed. A directory that cannot
// be opened has nothing below it.
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
