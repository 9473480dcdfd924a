package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestRequired checks that a failed write is an error if the audit is required, that
// it is logged once, and that the chain continues when writing succeeds again.
func TestRequired(t *testing.T) {
	out := &failing{}
	var log strings.Builder
	observed := 0
	c := Config{Output: out, Now: now, Log: slog.New(slog.NewTextHandler(&log, nil)), Required: true, Observe: func(err error) {
		if err != nil {
			observed++
		}
	}}
	l := open(t, c)
	put(t, l, 1)
	out.err = io.ErrShortWrite
	for range 3 {
		if err := l.Begin(Entry{Action: "load_model"}); !errors.Is(err, ErrNotWritten) || !errors.Is(err, io.ErrShortWrite) {
			t.Error(err)
		}
	}
	out.err = nil
	put(t, l, 1)
	if n := strings.Count(log.String(), "cannot be written"); n != 1 || observed != 3 || !strings.Contains(log.String(), "can be written again") {
		t.Errorf("%d, %d, %s", n, observed, log.String())
	}
	if got := out.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, `"seq":2`) {
		t.Error(got)
	}
	if err := l.Begin(Entry{Action: "a"}); err != nil || !strings.Contains(out.String(), `"outcome":"begun"`) {
		t.Errorf("%v, %s", err, out.String())
	}
	closed(t, l)
	closed(t, l)
	if err := l.Write(Entry{}); !errors.Is(err, ErrNotWritten) {
		t.Error(err)
	}
	c.Required = false
	l = open(t, c)
	out.err = io.ErrShortWrite
	if err := errors.Join(l.Begin(Entry{}), l.Write(Entry{})); err != nil {
		t.Error(err)
	}
	var none *Log
	if err := errors.Join(none.Begin(Entry{}), none.Write(Entry{}), none.Close()); err != nil {
		t.Error(err)
	}
}

type failing struct {
	bytes.Buffer
	err error
}

func (f *failing) Write(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return f.Buffer.Write(p)
}

// TestFailedWrites checks that a partly written line is removed, and that a file
// that cannot be rotated is still written.
func TestFailedWrites(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.log")
	c := config(name)
	l := open(t, c)
	put(t, l, 2)
	good := l.file.f
	readOnly, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	l.file.f = readOnly // like a full disk
	if err := l.Write(Entry{Action: "a"}); !errors.Is(err, ErrNotWritten) {
		t.Error(err)
	}
	l.file.f = good
	put(t, l, 1)
	closed(t, l)
	verified(t, name, 3)
	if err := os.Mkdir(name+".000000000003", 0o700); err != nil {
		t.Fatal(err)
	}
	c.Rotate = 1
	l = open(t, c)
	if err := l.Write(Entry{Action: "a"}); !errors.Is(err, ErrNotWritten) || !strings.Contains(err.Error(), "move it away") {
		t.Error(err)
	}
	if err := os.Remove(name + ".000000000003"); err != nil {
		t.Fatal(err)
	}
	put(t, l, 2)
	closed(t, l)
	verified(t, name, 5)
	link := name + ".link"
	if err := os.Symlink(name, link); err != nil {
		t.Fatal(err)
	}
	for _, odd := range []string{link, t.TempDir(), filepath.Join(name, "x"), os.DevNull} {
		if _, err := Open(config(odd)); err == nil {
			t.Errorf("%s was opened", odd)
		}
	}
}

// TestManyWriters checks that lines of many goroutines form one chain.
func TestManyWriters(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.log")
	c := config(name)
	c.Rotate, c.Required = 64<<10, false
	l := open(t, c)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				_ = l.Write(Entry{Action: fmt.Sprint(i, " ", j)})
			}
		})
	}
	wg.Wait()
	closed(t, l)
	verified(t, name, 1600)
}

func FuzzVerify(f *testing.F) {
	line, _ := appendLine(nil, 1, now(), start, &Entry{Action: "a", torn: "x"})
	f.Add(line)
	f.Add(append(line, line...))
	f.Add([]byte("x\ny\n"))
	f.Add([]byte(hashMember + strings.Repeat("0", 64) + "\"}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		name := filepath.Join(t.TempDir(), "audit.log")
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		report, err := Verify([]string{name}, "")
		var broken *Broken
		if err != nil && !errors.As(err, &broken) {
			t.Fatal(err)
		}
		c := config(name)
		c.Required = false // which takes time
		l, wrong := Open(c)
		if wrong != nil {
			return
		}
		put(t, l, 1)
		closed(t, l)
		if after, wrong := Verify([]string{name}, ""); err == nil && len(text) > 0 && (wrong != nil || after.Lines != report.Lines+1) {
			t.Errorf("%q was in order, and is not after another line: %+v, %v", text, after, wrong)
		}
	})
}
