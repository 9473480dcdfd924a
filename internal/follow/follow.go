// Package follow loads a file again whenever its contents change. While the file
// cannot be read, the contents loaded last stay in use.
package follow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"syscall"
	"time"
)

// Every is the default interval of checks. Two checks must agree, so a change is
// loaded after at most twice that time.
const Every = 400 * time.Millisecond

// maxBytes is the size of the largest file that is read.
const maxBytes = 4 << 20

// File is a followed file. Read and Run must not be called concurrently.
type File struct {
	Name string
	What string // for the log: "the file of API keys"
	// Take loads the contents. After an error the former contents stay in use.
	Take  func(data []byte) error
	Every time.Duration // 0: Every
	Log   *slog.Logger
	// Observe is called after each attempt to load the file, with the error or nil.
	// It may be nil.
	Observe func(error)

	taken, before, refused look
	patience               int    // checks until refused contents are tried again
	trouble                string // the error that was logged last
}

// refusedLooks is after how many checks refused contents are tried again, because
// the reason for refusing them may have changed.
const refusedLooks = 25

// look is the state of a file without its contents.
type look struct {
	info fs.FileInfo
}

func (l look) same(other look) bool {
	return l.info != nil && other.info != nil && os.SameFile(l.info, other.info) &&
		l.info.Size() == other.info.Size() && l.info.ModTime().Equal(other.info.ModTime())
}

// Read reads and loads the file.
func (f *File) Read() error {
	now, data, err := f.read()
	if err != nil {
		return err
	}
	if err := f.Take(data); err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	f.taken = now
	return nil
}

// Run loads the file when it changes, until ctx ends.
func (f *File) Run(ctx context.Context) {
	every := f.Every
	if every == 0 {
		every = Every
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.check()
		}
	}
}

// check checks the file once.
func (f *File) check() {
	info, err := os.Stat(f.Name)
	if err != nil {
		f.before = look{}
		f.failed(err)
		return
	}
	now := look{info}
	if now.same(f.taken) {
		f.before = now
		f.recovered(false)
		return
	}
	settled := now.same(f.before)
	f.before = now
	if f.patience--; !settled || now.same(f.refused) && f.patience > 0 {
		return
	}
	read, data, err := f.read()
	if err != nil {
		f.failed(err)
		return
	}
	if !read.same(now) { // it has changed meanwhile
		f.before = read
		return
	}
	if err := f.Take(data); err != nil {
		f.refused, f.patience = now, refusedLooks
		f.failed(err)
		return
	}
	f.taken = now
	f.recovered(true)
}

func (f *File) failed(err error) {
	if f.Observe != nil {
		f.Observe(err)
	}
	if f.trouble != err.Error() {
		f.trouble = err.Error()
		f.Log.Error("a followed file is not taken up: what was read last stays in use", "what", f.What, "file", f.Name, "error", err)
	}
}

func (f *File) recovered(changed bool) {
	if changed || f.trouble != "" {
		f.trouble = ""
		f.Log.Info("a followed file is taken up", "what", f.What, "file", f.Name)
		if f.Observe != nil {
			f.Observe(nil)
		}
	}
}

// read reads the whole file and returns its state.
func (f *File) read() (look, []byte, error) {
	file, err := os.OpenFile(f.Name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // opening a pipe would wait for its other end
	if err != nil {
		return look{}, nil, err //nolint:wrapcheck // it names the file
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return look{}, nil, err //nolint:wrapcheck // it names the file
	}
	if !info.Mode().IsRegular() {
		return look{}, nil, fmt.Errorf("%s is not a regular file", f.Name)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxBytes+1))
	if err == nil && len(data) > maxBytes {
		err = errors.New("it is too large")
	}
	if err != nil {
		return look{}, nil, fmt.Errorf("reading %s: %w", f.Name, err)
	}
	return look{info}, data, nil
}
