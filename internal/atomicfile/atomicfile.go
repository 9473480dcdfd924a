// Package atomicfile writes files and directories that appear under their names only
// when they are complete.
//
// An incomplete one has a name beside the final one that begins with a dot. Readers
// of a directory of models skip such names.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// File is a file that is being written. Call either Commit or Discard.
type File struct {
	*os.File
	name string
	mode fs.FileMode
}

// Create begins a file with the given name and mode.
func Create(name string, mode fs.FileMode) (*File, error) {
	f, err := os.CreateTemp(filepath.Dir(name), unfinished(name))
	if err != nil {
		return nil, fmt.Errorf("creating a file beside %s: %w", name, err)
	}
	return &File{f, name, mode}, nil
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
	err := errors.Join(f.Chmod(f.mode), f.Sync())
	if err = errors.Join(err, f.Close()); err == nil {
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
