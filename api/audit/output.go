package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/syslog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// output is the file of an audit.
type output struct {
	name string
	f    *os.File
	size int64 // of whole lines
}

// tail is the end of a chain.
type tail struct {
	seq  uint64
	hash string // empty: there is no line
	torn string // hash of what follows the last line
}

// openOutput opens an audit's file for writing, and finds the end of its chain.
func openOutput(name string) (*output, tail, error) {
	o := &output{name: name}
	if err := o.open(); err != nil {
		return nil, tail{}, err
	}
	end, err := o.end()
	if err != nil {
		return nil, tail{}, errors.Join(err, o.f.Close())
	}
	return o, end, nil
}

// open opens the file. While it is open, no other host may write to it, and other
// users may not read it.
func (o *output) open() error {
	f, err := os.OpenFile(o.name, os.O_CREATE|os.O_RDWR|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return err //nolint:wrapcheck // it names the file
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%s is not a regular file", o.name)
	case unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil:
		err = fmt.Errorf("another host writes to %s: give each its own", o.name)
	default:
		o.f, o.size = f, info.Size()
		return nil
	}
	return errors.Join(err, f.Close())
}

// end returns the end of the chain: in the file, or, if the file is new, in the one
// before it.
func (o *output) end() (tail, error) {
	end, rest, err := lastLine(o.f, o.size)
	if err != nil {
		return tail{}, fmt.Errorf("%s: %w", o.name, err)
	}
	if rest > 0 { // a torn line, or a whole line without its line break
		if err := o.write([]byte("\n"), true); err != nil {
			return tail{}, err
		}
	}
	if end.hash != "" {
		return end, nil
	}
	before, err := o.before()
	if err != nil {
		return tail{}, err
	}
	before.torn = end.torn
	return before, nil
}

// before returns the end of the last rotated file.
func (o *output) before() (tail, error) {
	name, err := o.rotated()
	if err != nil || name == "" {
		return tail{}, err
	}
	f, err := os.Open(name)
	if err != nil {
		return tail{}, err //nolint:wrapcheck // it names the file
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return tail{}, err //nolint:wrapcheck // it names the file
	}
	end, rest, err := lastLine(f, info.Size())
	if err == nil && (rest > 0 || end.torn != "") {
		err = errDamaged
	}
	if err != nil {
		return tail{}, fmt.Errorf("%s: %w", name, err)
	}
	return end, nil
}

var errDamaged = errors.New("its last line is damaged, so the chain cannot continue: audit verify names what is wrong; move the file away to begin another audit")

// lastLine returns the last line of a file, and how many bytes without a line break
// follow it. If those bytes are a whole line, it is the last line. One malformed
// line, as an interrupted host leaves it, is torn.
func lastLine(f io.ReaderAt, size int64) (end tail, rest int, err error) {
	text := make([]byte, min(size, 4*maxLine))
	if _, err := f.ReadAt(text, size-int64(len(text))); err != nil && !errors.Is(err, io.EOF) {
		return tail{}, 0, fmt.Errorf("reading the end: %w", err)
	}
	lines := bytes.Split(text, []byte("\n"))
	last := len(lines) - 1
	rest = len(lines[last])
	if rest == 0 {
		last--
	}
	for i := last; i >= 0 && i >= last-1; i-- {
		l, err := parseLine(lines[i])
		if err == nil {
			end.seq, end.hash = l.Seq, l.hash
			return end, rest, nil
		}
		if i < last { // two malformed lines
			break
		}
		end.torn = sum(lines[i])
	}
	if last > 0 || int64(len(text)) < size {
		return tail{}, 0, errDamaged
	}
	return end, rest, nil // the file is empty, or its first line was interrupted
}

// write writes all of text or nothing: it removes a part that was written.
func (o *output) write(text []byte, durable bool) error {
	_, err := o.f.Write(text)
	if err == nil && durable {
		err = o.f.Sync()
	}
	if err != nil {
		return errors.Join(err, o.f.Truncate(o.size))
	}
	o.size += int64(len(text))
	return nil
}

// rotate renames the file by the number of its last line, and begins another file.
func (o *output) rotate(seq uint64) error {
	if err := o.f.Sync(); err != nil {
		return err //nolint:wrapcheck // it names the file
	}
	next := fmt.Sprintf("%s.%012d", o.name, seq)
	if _, err := os.Lstat(next); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s exists already: move it away", next)
	}
	if err := os.Rename(o.name, next); err != nil {
		return err //nolint:wrapcheck // it names the files
	}
	old := o.f
	if err := o.open(); err != nil {
		return errors.Join(err, os.Rename(next, o.name)) // continue with this file
	}
	return old.Close() //nolint:wrapcheck // it names the file
}

// rotated returns the last rotated file, or "" if there is none.
func (o *output) rotated() (string, error) {
	entries, err := os.ReadDir(filepath.Dir(o.name))
	if err != nil {
		return "", err //nolint:wrapcheck // it names the directory
	}
	last, prefix := "", filepath.Base(o.name)+"."
	for _, e := range entries { // in the order of their names
		if number, ok := strings.CutPrefix(e.Name(), prefix); ok && len(number) == 12 && strings.Trim(number, "0123456789") == "" {
			last = filepath.Join(filepath.Dir(o.name), e.Name())
		}
	}
	return last, nil
}

func (o *output) close() error { return errors.Join(o.f.Sync(), o.f.Close()) }

// NewSyslog returns an output that writes to the system's log.
func NewSyslog() (io.WriteCloser, error) {
	w, err := syslog.New(syslog.LOG_NOTICE|syslog.LOG_AUTHPRIV, "pynomaly-runtime")
	if err != nil {
		return nil, fmt.Errorf("opening the system's log: %w", err)
	}
	return w, nil
}
