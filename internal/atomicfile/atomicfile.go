// Package atomicfile writes files and directories that appear under their names when they
// are complete, or not at all.
//
// What is being written has a name that begins with a dot, beside the final one: those who
// follow a directory of models pass it over.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// File is a file that is being written. Either Commit or Discard must be called.
type File struct {
	*os.File
	name string
	mode fs.FileMode
}

// Create begins the file name, which will have the given mode.
func Create(name string, mode fs.FileMode) (*File, error) {
	f, err := os.CreateTemp(filepath.Dir(name), unfinished(name))
	if err != nil {
		return nil, fmt.Errorf("creating a file beside %s: %w", name, err)
	}
	return &File{f, name, mode}, nil
}

// unfinished is the pattern of the name that something has while it is written: not longer
// than file systems allow where the final name is not.
func unfinished(name string) string {
	const most = 200
	base := filepath.Base(name)
	return "." + base[:min(len(base), most)] + "-*"
}

// Commit closes the file and gives it its name, in place of a file that had it before. The
// contents are on disk before the name is. After an error nothing is left of the file.
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

// Discard closes the file and removes it. What had its name before is as it was.
func (f *File) Discard() error {
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// Write writes the file name as a whole.
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

// The modes of directories of models and of their files: whoever serves them may be
// another user than whoever wrote them.
const (
	dirMode  = 0o755
	fileMode = 0o644
)

// WriteDir makes the directory dir with the given files, by their names, and the
// directories above it. Where dir is there and holds anything, WriteDir fails, and the
// error is fs.ErrExist.
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

// MoveDir gives the directory from the name to, and makes the directories above it. Both
// are on one file system. Where to is there and holds anything, MoveDir fails, and the
// error is fs.ErrExist.
func MoveDir(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), dirMode); err != nil {
		return fmt.Errorf("making the directory of %s: %w", to, err)
	}
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("moving %s to its place: %w", to, err)
	}
	return nil
}
