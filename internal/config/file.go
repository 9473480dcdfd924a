package config

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// mostBytes bounds the configuration's size.
const mostBytes = 4 << 20

// readFile reads the configuration's file. It refuses a named pipe, because it would wait
// until somebody writes to it, and a reload would wait again. A pipe that the process was
// started with, such as /dev/stdin, is read to its end.
func readFile(file string) ([]byte, error) {
	if at, err := filepath.EvalSymlinks(file); err == nil {
		if info, err := os.Lstat(at); err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
			return nil, fmt.Errorf("%s is a named pipe: give a file, or /dev/stdin", file)
		}
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err //nolint:wrapcheck // Read says what was read
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, mostBytes+1))
	if err != nil {
		return nil, err //nolint:wrapcheck // Read says what was read
	}
	if len(data) > mostBytes {
		return nil, fmt.Errorf("%s is larger than %d MiB", file, mostBytes>>20)
	}
	return data, nil
}
