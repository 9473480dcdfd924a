package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"
)

// source is a file or directory that is added to a layer.
type source struct {
	from string // empty: an empty directory
	to   string
	mode fs.FileMode // of a single file, or an empty directory
	own  bool        // owned by the image's user instead of root
}

// writeLayer writes a tar file whose bytes depend only on the contents.
func writeLayer(file string, sources []source) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("creating the layer: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := tar.NewWriter(f)
	for _, s := range sources {
		if err := s.add(w); err != nil {
			return err
		}
	}
	return w.Close()
}

func (s source) add(w *tar.Writer) error {
	owner := 0
	if s.own {
		owner = user
	}
	header := func(name string, kind byte, mode fs.FileMode) *tar.Header {
		return &tar.Header{Name: name, Typeflag: kind, Mode: int64(mode.Perm()), Uid: owner, Gid: owner, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	}
	if s.from == "" {
		return w.WriteHeader(header(s.to+"/", tar.TypeDir, s.mode))
	}
	return filepath.WalkDir(s.from, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(s.from, at)
		if err != nil {
			return fmt.Errorf("naming %s: %w", at, err)
		}
		name := path.Join(s.to, filepath.ToSlash(below))
		if name == "." {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return fmt.Errorf("reading %s: %w", at, err)
		}
		switch {
		case d.IsDir():
			mode := fs.FileMode(0o755)
			if name == "tmp" {
				h := header(name+"/", tar.TypeDir, 0o777)
				h.Mode |= 0o1000 // sticky
				return w.WriteHeader(h)
			}
			return w.WriteHeader(header(name+"/", tar.TypeDir, mode))
		case info.Mode()&fs.ModeSymlink != 0:
			h := header(name, tar.TypeSymlink, 0o777)
			if h.Linkname, err = os.Readlink(at); err != nil {
				return fmt.Errorf("reading a link: %w", err)
			}
			return w.WriteHeader(h)
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is neither file, directory nor link", at)
		}
		return s.file(w, at, info, func(mode fs.FileMode) *tar.Header { return header(name, tar.TypeReg, mode) })
	})
}

// file adds a file's header and its contents.
func (s source) file(w *tar.Writer, at string, info fs.FileInfo, header func(fs.FileMode) *tar.Header) error {
	mode := info.Mode()
	if at == s.from {
		mode = s.mode
	} else if mode&0o100 == 0 {
		mode = 0o644
	}
	h := header(mode)
	h.Size = info.Size()
	if err := w.WriteHeader(h); err != nil {
		return fmt.Errorf("writing %s: %w", at, err)
	}
	in, err := os.Open(at)
	if err != nil {
		return fmt.Errorf("opening %s: %w", at, err)
	}
	defer in.Close()
	_, err = io.Copy(w, in)
	return err
}
