package catalog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// opened is the directory of a model whose files are being read. All are read
// through the same two handles, so that the directory cannot be replaced between two
// files, or before its path is asked for.
type opened struct {
	root *os.Root // the models directory
	own  *os.Root // the model's directory; for a bare file the same as root
	name string   // of own below root, as requested
	base string   // path of root, absolute and with links followed
	dir  string   // path of own, likewise
	left int64    // how many bytes may still be read

	elsewhere []string // paths outside dir to which links in own lead
}

// openDir opens the directory of a model, of which at most most bytes are read.
func openDir(root *os.Root, at Location, most int64) (_ *opened, err error) {
	o := &opened{root: root, own: root, name: at.Dir, left: most}
	if at.File == "" {
		if o.own, err = root.OpenRoot(path.Clean(at.Dir)); err != nil {
			return nil, cause(err)
		}
	}
	if o.base, err = whereIs(root); err == nil {
		o.dir, err = whereIs(o.own)
	}
	if err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

func (o *opened) close() {
	if o.own != o.root {
		_ = o.own.Close() // it was only read
	}
}

func whereIs(root *os.Root) (string, error) {
	f, err := root.Open(".")
	if err != nil {
		return "", cause(err)
	}
	defer f.Close()
	return backends.Where(f)
}

// open opens a file of the model. A link may lead out of the model's directory if it
// stays in the models directory and does not lead into another model.
func (o *opened) open(name string) (*os.File, error) {
	const flags = os.O_RDONLY | syscall.O_NONBLOCK // opening a pipe must not wait for its other end
	f, err := o.own.OpenFile(name, flags, 0)
	if o.own != o.root && (err == nil || !escapes(err)) {
		return f, err
	}
	if o.own != o.root {
		way, relErr := filepath.Rel(o.base, o.dir)
		if relErr != nil || !filepath.IsLocal(way) {
			return nil, fmt.Errorf("%s: %w", o.name, errMoved)
		}
		f, err = o.root.OpenFile(path.Join(filepath.ToSlash(way), name), flags, 0)
	}
	if err != nil {
		return nil, err
	}
	if err := o.judge(f, name); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// errMoved means that a directory was replaced or moved while it was read.
var errMoved = fmt.Errorf("%w: it was moved or exchanged while it was read", backends.ErrSurroundings)

// judge refuses a file that the model must not have. It uses the path of the open
// file, not that of its name.
func (o *opened) judge(f *os.File, name string) error {
	file, err := backends.Where(f)
	if err != nil {
		return err
	}
	way, err := filepath.Rel(o.base, file)
	if err != nil || !filepath.IsLocal(way) {
		return fmt.Errorf("%s: %w", path.Join(o.name, name), errMoved)
	}
	for part := range strings.SplitSeq(path.Dir(filepath.ToSlash(way)), "/") {
		if manifest.ValidVersion(part) {
			return fmt.Errorf("%w: %s is a link to %s, a file of another model: copy it", backends.ErrRefused, path.Join(o.name, name), filepath.ToSlash(way))
		}
	}
	if o.own != o.root {
		if in, err := filepath.Rel(o.dir, file); err == nil && filepath.IsLocal(in) {
			return fmt.Errorf("%s: %w", o.name, errMoved)
		}
		o.elsewhere = append(o.elsewhere, file)
	}
	return nil
}

// size returns the total bytes of the artifact and other files. Files that cannot be
// opened count as 0: reading them gives the error.
func (o *opened) size(artifact string, names ...string) int64 {
	sum := int64(0)
	if artifact != "" {
		names = append(names, artifact)
	}
	for _, name := range names {
		f, err := o.open(name)
		if err != nil {
			continue
		}
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			sum += min(info.Size(), maxArtifactBytes)
		}
		_ = f.Close() // nothing was read
	}
	return sum
}

// read reads a file of the model with at most most bytes.
func (o *opened) read(name string, most int64) ([]byte, error) {
	whole := path.Join(o.name, name)
	f, err := o.open(name)
	if err != nil {
		return nil, causeOf(whole, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, causeOf(whole, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", whole)
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%s has %d bytes; at most %d are read", whole, info.Size(), most)
	}
	if info.Size() > o.left {
		return nil, fmt.Errorf("%s has %d bytes; of the bytes that limits.max.bytes allows for all files of a model, %d are left", whole, info.Size(), o.left)
	}
	data, err := readAll(f, whole, min(most, o.left), info.Size())
	o.left -= int64(len(data))
	return data, err
}

// readAll reads a file that had size bytes when it was opened.
func readAll(f *os.File, name string, most, size int64) ([]byte, error) {
	data := make([]byte, 0, size+1)
	for {
		n, err := f.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if errors.Is(err, io.EOF) {
			return data, nil
		}
		if err != nil {
			return nil, causeOf(name, err)
		}
		if int64(len(data)) > most {
			return nil, fmt.Errorf("%s grew over %d bytes while it was read", name, most)
		}
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
	}
}

// cause shortens a path error to the file and what went wrong.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return causeOf(p.Path, err)
	}
	return err
}

// causeOf does the same for a file with another name than the error's.
func causeOf(name string, err error) error {
	var p *fs.PathError
	switch {
	case !errors.As(err, &p):
		return err
	case escapes(err):
		return fmt.Errorf("%s is a link that leads outside the models directory: put the file inside it", name)
	}
	return fmt.Errorf("%s: %w", name, p.Err)
}

// escapes reports whether a link leads out of an os.Root. The error can be
// recognised only by its text.
func escapes(err error) bool {
	var p *fs.PathError
	return errors.As(err, &p) && strings.Contains(p.Err.Error(), "escapes")
}
