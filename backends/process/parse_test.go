package process

import (
	"bytes"
	"log/slog"
	"math"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pynomaly/pynomaly-runtime/internal/pluginlog"
)

// FuzzLog checks that any output of a plugin is logged as valid text.
func FuzzLog(f *testing.F) {
	for _, seed := range []string{`{"@level":1}`, `{"@message":"x","@level":"error","@timestamp":{}}`, "{", "a\xffb\nc", "\n\n", strings.Repeat("x", 9000), `{"@message":"` + strings.Repeat(`\u0000`, 100) + `"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l := pluginlog.New(slog.New(slog.DiscardHandler), time.Now, parse)
		for _, part := range [][]byte{data, data} {
			if n, err := l.Write(part); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		l.Flush()
		if tail := l.Tail(); !utf8.ValidString(tail) || len(tail) > 1100 || strings.ContainsAny(tail, "\n\x00") {
			t.Errorf("%q", tail)
		}
	})
}

// FuzzStat checks that the fields after a process's name are found for every name.
func FuzzStat(f *testing.F) {
	f.Add("1 (x) S 2 3 4")
	f.Add("1 (a) R (b)) T 7 8 9")
	f.Add("")
	f.Add(")")
	f.Fuzz(func(t *testing.T, text string) {
		parseStat([]byte(text))
		got := parseStat([]byte("12 (" + strings.ReplaceAll(text, ")", "") + ") T 5 6 7"))
		if got.state != 'T' || got.parent != 5 {
			t.Errorf("%+v", got)
		}
	})
}

// FuzzRequest checks that the keeper accepts only valid requests.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("start knn"), 3)
	f.Add([]byte("start "), 4)
	f.Add([]byte("start x"), 2)
	f.Add([]byte("done"), 0)
	f.Add([]byte("done"), 3)
	f.Add([]byte("start a\x00b"), 3)
	f.Fuzz(func(t *testing.T, packet []byte, descriptors int) {
		name, done, err := parseRequest(packet, descriptors)
		switch {
		case err != nil && (name != "" || done), done && (name != "" || string(packet) != "done"):
			t.Errorf("%q with %d: %q, %v, %v", packet, descriptors, name, done, err)
		case err == nil && !done && (descriptors < 3 || "start "+name != string(packet) || strings.ContainsRune(name, 0)):
			t.Errorf("%q with %d: %q", packet, descriptors, name)
		}
	})
}

// FuzzReports checks that any output of a supervisor is read to its end or refused,
// and that reports survive sending and reading.
func FuzzReports(f *testing.F) {
	f.Add([]byte(`{"self":7}`+"\n"+`{"cause":"exit status 3"}`+"\n"), "x", 7)
	f.Add([]byte("\n{"), "\n", -1)
	f.Add([]byte(strings.Repeat("x", maxReport+1)), "", 0)
	f.Fuzz(func(t *testing.T, text []byte, cause string, pid int) {
		_ = reports(bytes.NewReader(text), func(report) bool { return true })
		if len(cause) > maxReport/8 || !utf8.ValidString(cause) {
			return
		}
		sent := report{PID: pid, Cause: cause}
		var line bytes.Buffer
		if err := sent.send(&line); err != nil {
			t.Fatal(err)
		}
		n := 0
		if err := reports(&line, func(got report) bool { n++; return got == sent }); err != nil || n != 1 {
			t.Errorf("%+v: %d reports, %v", sent, n, err)
		}
	})
}

func TestLog(t *testing.T) {
	var out strings.Builder
	l := pluginlog.New(slog.New(slog.NewTextHandler(&out, nil)), time.Now, parse)
	_, _ = l.Write([]byte("one\ntw"))
	_, _ = l.Write([]byte("o\n" + strings.Repeat("y", 5000) + "\nthree"))
	l.Flush()
	for _, want := range []string{"text=one cut=false", "text=two cut=false", "cut=true", "text=three cut=false"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in %s", want, out.String())
		}
	}
	out.Reset()
	for range 1000 {
		_, _ = l.Write([]byte("spam\n"))
	}
	l.Flush()
	if n := strings.Count(out.String(), "text=spam"); n > 2*pluginlog.LinesPerSecond || !strings.Contains(out.String(), "dropped=") {
		t.Errorf("%d lines: %s", n, out.String())
	}
}

// TestBackoff checks that the first restart is immediate and that later ones wait
// longer and longer, with jitter, up to a minute.
func TestBackoff(t *testing.T) {
	if d := backoff(1, 0.9); d != 0 {
		t.Errorf("%v", d)
	}
	last := time.Duration(0)
	for n := 2; n < 40; n++ {
		d := backoff(n, 0.5)
		if d < last || d > mostBackoff {
			t.Errorf("%d: %v after %v", n, d, last)
		}
		if low, high := backoff(n, 0), backoff(n, math.Nextafter(1, 0)); low >= d || high <= d {
			t.Errorf("%d: no jitter: %v, %v, %v", n, low, d, high)
		}
		last = d
	}
	if last != mostBackoff || backoff(2, 0.5) != firstBackoff {
		t.Errorf("%v", last)
	}
}

// TestSweep checks that a new host removes the directory of a host that was killed
// with its keeper, but not the directory of a living host.
func TestSweep(t *testing.T) {
	tmp, err := os.MkdirTemp("/tmp", "p") // short: the length of socket names is limited
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	t.Setenv("TMPDIR", tmp)
	one := &Backend{}
	if err := one.makeDir(); err != nil {
		t.Fatal(err)
	}
	two := &Backend{}
	if err := two.makeDir(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(one.dir); err != nil {
		t.Errorf("the directory of a living host is gone: %v", err)
	}
	if err := one.lock.Close(); err != nil { // as if it had been killed
		t.Fatal(err)
	}
	three := &Backend{}
	if err := three.makeDir(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(one.dir); !os.IsNotExist(err) {
		t.Errorf("the directory of a dead host is still there: %v", err)
	}
	for _, b := range []*Backend{two, three} {
		if err := b.lock.Close(); err != nil {
			t.Error(err)
		}
	}
}
