package offline

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/pynomaly/pynomaly-runtime/internal/atomicfile"
)

// output is a result that is being written. Call either Commit or Discard.
type output interface {
	io.Writer
	Commit() error
	Discard() error
}

// create begins an output.
func create(name string) (output, error) {
	name, err := followed(name)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(name); err == nil && (!info.Mode().IsRegular() || ownDescriptor(name)) {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		return straight{f}, err //nolint:wrapcheck // it names the file
	}
	return atomicfile.CreateDefault(name) //nolint:wrapcheck // it names the file
}

// ownDescriptor reports whether a file is an open file of a process, such as /dev/fd/1.
func ownDescriptor(name string) bool {
	return strings.HasPrefix(name, "/dev/fd/") || strings.HasPrefix(name, "/proc/") || name == "/dev/stdout" || name == "/dev/stderr"
}

// followed returns the file that a link points to, which need not exist. It does not
// follow links to open files.
func followed(name string) (string, error) {
	const most = 40 // as Linux allows
	for range most {
		to, err := os.Readlink(name)
		if err != nil || ownDescriptor(name) {
			return name, nil //nolint:nilerr // it is no link
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(name), to)
		}
		name = to
	}
	return "", fmt.Errorf("%s is a link to itself", name)
}

// straight is an output that receives its text at once.
type straight struct{ *os.File }

// Commit implements output.
func (s straight) Commit() error { return s.Close() }

// Discard implements output. What was written stays.
func (s straight) Discard() error { return s.Close() }
