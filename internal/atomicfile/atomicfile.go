// Package atomicfile writes files and directories that appear under their names only
// when they are complete.
//
// An incomplete one has a name beside the final one that begins with a dot. Readers
// of a directory of models skip such names.
package atomicfile

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// File is a file that is being written. Call either Commit or Discard.
type File struct {
	*os.File
	name string
	mode fs.FileMode // 0: as it was created
}

// Create begins a file with the given name and mode.
func Create(name string, mode fs.FileMode) (*File, error) {
	f, err := os.CreateTemp(filepath.Dir(name), unfinished(name))
	if err != nil {
		return nil, fmt.Errorf("creating a file beside %s: %w", name, err)
	}
	return &File{f, name, mode}, nil
}

// CreateDefault begins a file with the given name. Its mode is that of the file that it
// replaces, or else the one that the process gives new files.
func CreateDefault(name string) (*File, error) {
	mode := fs.FileMode(0)
	if info, err := os.Stat(name); err == nil {
		mode = info.Mode().Perm()
	}
	for range 100 {
		var random [8]byte
		if _, err := rand.Read(random[:]); err != nil {
			return nil, fmt.Errorf("creating a file beside %s: %w", name, err)
		}
		at := filepath.Join(filepath.Dir(name), strings.TrimSuffix(unfinished(name), "*")+hex.EncodeToString(random[:]))
		f, err := os.OpenFile(at, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666) //nolint:gosec // the process's umask says who may read it
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("creating a file beside %s: %w", name, err)
		}
		return &File{f, name, mode}, nil
	}
	return nil, fmt.Errorf("creating a file beside %s: %w", name, fs.ErrExist)
}

// unfinished returns a pattern for temporary names. They are not longer than file
// systems allow if the final name is not.
func unfinished(name string) string {
	const most = 200
	base := filepath.Base(name)
	return "." + base[:min(len(base), most)] + "-*"
}

// Commit closes the file and gives it its name, replacing a file of that name. The
// contents are on disk before the file has the name. After an error no temporary
// file is left.
func (f *File) Commit() error {
	var err error
	if f.mode != 0 {
		err = f.Chmod(f.mode)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), f.name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", f.name, err), os.Remove(f.Name()))
	}
	return nil
}

// Discard closes and removes the file. A file of the final name is unchanged.
func (f *File) Discard() error {
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// Write writes a whole file.
func Write(name string, data []byte, mode fs.FileMode) error {
	f, err := Create(name, mode)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", name, err), f.Discard())
	}
	return f.Commit()
}

// The modes of directories of models and of their files: the user who serves them
// may differ from the one who writes them.
const (
	dirMode  = 0o755
	fileMode = 0o644
)

// WriteDir makes the directory dir with the given files, by name, and its parents.
// If dir exists and is not empty, WriteDir returns an error that wraps fs.ErrExist.
func WriteDir(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(filepath.Dir(dir), dirMode); err != nil {
		return fmt.Errorf("making the directory of %s: %w", dir, err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), unfinished(dir))
	if err != nil {
		return fmt.Errorf("making a directory beside %s: %w", dir, err)
	}
	err = os.Chmod(tmp, dirMode)
	for name, data := range files {
		err = errors.Join(err, os.WriteFile(filepath.Join(tmp, name), data, fileMode))
	}
	if err == nil {
		err = os.Rename(tmp, dir)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", dir, err), os.RemoveAll(tmp))
	}
	return nil
}

// MoveDir renames the directory from to to, and makes the parents of to. Both must
// be on the same file system. If to exists and is not empty, MoveDir returns an
// error that wraps fs.ErrExist.
func MoveDir(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), dirMode); err != nil {
		return fmt.Errorf("making the directory of %s: %w", to, err)
	}
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("moving %s to its place: %w", to, err)
	}
	return nil
}
