package follow

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFollow checks that contents are loaded when two checks agree, and that they
// stay in use while the file is missing, unreadable or refused.
func TestFollow(t *testing.T) {
	name := filepath.Join(t.TempDir(), "followed")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var taken string
	var last error
	tries := 0
	refuse := errors.New("refused")
	var log strings.Builder
	f := File{
		Name: name, What: "a test", Log: slog.New(slog.NewTextHandler(&log, nil)), Observe: func(err error) { last = err },
		Take: func(data []byte) error {
			if tries++; strings.Contains(string(data), "bad") {
				return refuse
			}
			taken = string(data)
			return nil
		},
	}
	if err := f.Read(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	write("bad")
	if err := f.Read(); !errors.Is(err, refuse) || !strings.Contains(err.Error(), name) {
		t.Errorf("contents that are refused: %v", err)
	}
	write("1")
	if err := f.Read(); err != nil || taken != "1" {
		t.Fatal(err, taken)
	}
	looks := func(what string, n int, want string, wantErr error) {
		t.Helper()
		for range n {
			f.check()
		}
		if taken != want || !errors.Is(last, wantErr) {
			t.Errorf("%s: %q and %v, want %q and %v", what, taken, last, want, wantErr)
		}
	}
	tries = 0
	looks("nothing happened", 3, "1", nil)
	write("22")
	looks("one look", 1, "1", nil)
	looks("two looks", 1, "22", nil)
	write("333")
	f.check()
	write("4444")
	looks("it changed between two looks", 1, "22", nil)
	looks("it changes no more", 1, "4444", nil)
	if tries != 2 {
		t.Errorf("it was loaded %d times", tries)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	looks("it is gone", 3, "4444", os.ErrNotExist)
	if err := os.Mkdir(name, 0o700); err != nil {
		t.Fatal(err)
	}
	f.check()
	if f.check(); last == nil || !strings.Contains(last.Error(), "not a regular file") {
		t.Errorf("a directory: %v", last)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	write("bad")
	tries = 0
	looks("it is refused", refusedLooks, "4444", refuse)
	if tries != 1 {
		t.Errorf("what was refused was tried %d times in %d looks", tries, refusedLooks)
	}
	refuse = nil
	looks("what refused it has changed", 2*refusedLooks, "4444", nil)
	write("55555")
	looks("it is good again", 2, "55555", nil)
	if n := strings.Count(log.String(), "not taken up"); n != 3 {
		t.Errorf("%d lines of trouble in\n%s", n, log.String())
	}
}

// TestLinks checks that a link that changes its target counts as a change, whatever
// the times and sizes. Kubernetes changes mounted files this way.
func TestLinks(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(dir, "b"), info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	var taken string
	f := File{Name: link, Log: slog.New(slog.DiscardHandler), Take: func(data []byte) error { taken = string(data); return nil }}
	for _, to := range []string{"a", "b", "a"} {
		tmp := filepath.Join(dir, "tmp")
		if err := errors.Join(os.Symlink(to, tmp), os.Rename(tmp, link)); err != nil {
			t.Fatal(err)
		}
		f.check()
		if f.check(); taken != to {
			t.Errorf("%q is in use, want %q", taken, to)
		}
	}
}

// TestPipe checks that a pipe in the place of a file ends nothing: it is refused, and
// the next regular file is taken up.
func TestPipe(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	taken := ""
	f := File{Name: name, Log: slog.New(slog.DiscardHandler), Take: func(data []byte) error { taken = string(data); return nil }}
	f.check()
	f.check()
	if f.trouble == "" {
		t.Error("a pipe is no trouble")
	}
	if err := errors.Join(os.Remove(name), os.WriteFile(name, []byte("a"), 0o600)); err != nil {
		t.Fatal(err)
	}
	f.check()
	if f.check(); taken != "a" {
		t.Errorf("%q is in use", taken)
	}
}
