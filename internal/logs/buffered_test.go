package logs_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/logs"
)

// logger returns loggers that write to out, configured as in serve.
func logger(t *testing.T, out io.Writer, format string) (*slog.Logger, *logs.Predictions) {
	t.Helper()
	level := new(slog.LevelVar)
	base, err := logs.New(out, level, "info", format)
	if err != nil {
		t.Fatal(err)
	}
	return base, logs.NewPredictions(out, level, format, base)
}

// patient returns a context that ends when the test should give up.
func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// disk is a file on a disk that is full for a while.
type disk struct {
	mu      sync.Mutex
	free    int
	failed  int
	written bytes.Buffer
}

func (d *disk) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := min(len(p), d.free)
	d.free -= n
	d.written.Write(p[:n])
	if n < len(p) {
		d.failed++
		return n, syscall.ENOSPC
	}
	return n, nil
}

func (d *disk) setFree(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free = n
}

func (d *disk) failures() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

func (d *disk) text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.written.String()
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timed out: %s", what)
		}
	}
}

func TestBufferedWritesOnClose(t *testing.T) {
	var out bytes.Buffer
	b := logs.NewBufferedEvery(&out, time.Hour, time.Hour)
	_, p := logger(t, b, "json")
	p.Log(&logs.Prediction{ModelID: "m"})
	if err := b.Close(patient(t)); err != nil {
		t.Fatal(err)
	}
	if got := lines(t, out.String()); len(got) != 1 {
		t.Errorf("wrote %q", out.String())
	}
}

// TestUrgentLinesDoNotWait checks that all lines but predictions are written at
// once, together with the predictions before them.
func TestUrgentLinesDoNotWait(t *testing.T) {
	d := &disk{free: 1 << 20}
	b := logs.NewBufferedEvery(d, time.Hour, time.Hour)
	base, p := logger(t, b, "json")
	p.Log(&logs.Prediction{ModelID: "m"})
	base.Error("broken")
	eventually(t, "the error is written", func() bool { return strings.Contains(d.text(), "broken") })
	if got := lines(t, d.text()); len(got) != 2 || got[0]["message"] != "prediction" {
		t.Errorf("wrote %q", d.text())
	}
	if err := b.Close(patient(t)); err != nil {
		t.Error(err)
	}
}

// TestFullDisk checks that nothing waits while the disk is full. When the disk has
// room, the log continues at the byte where it stopped, and says what is missing.
func TestFullDisk(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) {
			d := &disk{free: 500} // ends within a line
			b := logs.NewBufferedEvery(d, time.Millisecond, time.Millisecond)
			base, p := logger(t, b, format)
			for range 100 {
				p.Log(&logs.Prediction{ModelID: "before"})
			}
			eventually(t, "writing fails", func() bool { return d.failures() > 0 })
			for b.Dropped()["prediction"] < 10 {
				p.Log(&logs.Prediction{ModelID: "meanwhile"})
			}
			logs.Named(base, "models").Info("an event")
			base.Error("an error")
			logs.Audit(base).Info("an approval")
			d.setFree(1 << 30)
			eventually(t, "the loss is logged", func() bool { return strings.Contains(d.text(), "could not be written") })
			if err := b.Close(patient(t)); err != nil {
				t.Fatal(err)
			}
			text := d.text()
			for _, want := range []string{"an event", "an error", "an approval", "no space left on device"} {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in the log", want)
				}
			}
			if n := strings.Count(text, "before"); n != 100 {
				t.Errorf("%d of 100 lines from before", n)
			}
			if format == "json" {
				all := lines(t, text) // each is whole
				if told := all[len(all)-1]; told["logger"] != "logs" || told["level"] != "WARN" || told["dropped"] != 10.0 {
					t.Errorf("logged %v", told)
				}
			}
		})
	}
}

// TestStalledReader checks that a pipe that nobody reads blocks nothing. Prediction
// lines are dropped first and warnings last.
func TestStalledReader(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b := logs.NewBuffered(w)
	base, p := logger(t, b, "json")
	long := strings.Repeat("x", 1000)
	for n := 0; b.Dropped()["prediction"] == 0; n++ {
		p.Log(&logs.Prediction{ModelID: "m"})
		if n > logs.BufferBytes {
			t.Fatal("nothing is ever dropped")
		}
	}
	for b.Dropped()["info"] == 0 {
		base.Info("an event", "long", long)
	}
	base.Warn("a warning")
	for b.Dropped()["warning"] == 0 {
		base.Error("an error", "long", long)
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Close(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("closing: %v", err)
	}
	// The reader continues: the kept lines are complete.
	found := make(chan bool)
	go func() {
		s := bufio.NewScanner(r)
		warned := false
		for s.Scan() {
			if !json.Valid(s.Bytes()) {
				t.Errorf("no whole line: %s", s.Text())
			}
			warned = warned || strings.Contains(s.Text(), "a warning")
		}
		found <- warned
	}()
	if !b.Ended(patient(t)) {
		t.Fatal("the rest is never written")
	}
	_ = w.Close()
	if !<-found {
		t.Error("the warning was lost")
	}
}

// TestClosedReader checks that a pipe without a reader is an error like any other.
func TestClosedReader(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	_ = r.Close()
	b := logs.NewBuffered(w)
	base, _ := logger(t, b, "json")
	base.Error("into the void")
	if err := b.Close(patient(t)); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("closing: %v", err)
	}
}

// TestManyWriters checks that lines of many goroutines stay whole and in each one's
// order.
func TestManyWriters(t *testing.T) {
	d := &disk{free: 1 << 30}
	b := logs.NewBuffered(d)
	base, p := logger(t, b, "json")
	var wg sync.WaitGroup
	for k := range 8 {
		wg.Go(func() {
			for n := range 500 {
				p.Log(&logs.Prediction{ModelID: fmt.Sprint("m", k), Rows: n + 1})
				if n%100 == 0 {
					base.Info("event", "k", k)
				}
			}
		})
	}
	wg.Wait()
	if err := b.Close(patient(t)); err != nil {
		t.Fatal(err)
	}
	next := map[string]float64{}
	for _, l := range lines(t, d.text()) {
		id, ok := l["model_id"].(string)
		if !ok {
			continue
		}
		if next[id]++; l["rows"] != next[id] {
			t.Fatalf("%s: row %v comes as number %v", id, l["rows"], next[id])
		}
	}
	if len(next) != 8 || next["m0"] != 500 {
		t.Errorf("%v", next)
	}
}
