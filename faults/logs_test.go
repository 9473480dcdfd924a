package faults

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

func logScenarios() []scenario {
	return []scenario{
		{
			id: "log-closed", does: "the reader of standard error closes it",
			must: "the host lives, all are answered, it stops in order", run: logClosed,
		},
		{
			id: "log-stalled", does: "the reader of standard error sleeps for thousands of predictions",
			must: "all are answered; lines that are dropped are counted; the log goes on when it reads again; a stop does not wait for it", run: logStalled,
		},
		{
			id: "log-no-space", does: "standard error is a full device",
			must: "all are answered, it stops in order", run: logNoSpace,
		},
		{
			id: "log-full-disk", does: "standard error is a file on a full disk, which gets room again", root: true,
			must: "all are answered; the log goes on by itself", run: logFullDisk,
		},
	}
}

func pipe(t *testing.T) (reader, writer *os.File) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = reader.Close(), writer.Close() })
	return reader, writer
}

// serving sends predictions and checks /ready.
func (h *host) serving(n int) *tally {
	h.T.Helper()
	out := hosttest.Burst(h.URL, 4, n, hosttest.Always(goodBody))
	out.None(h.T)
	h.MustLive()
	if status := h.Status("/ready"); status != http.StatusOK {
		h.T.Errorf("/ready answers %d", status)
	}
	return out
}

func logClosed(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	reader, writer := pipe(t)
	h := start(t, p, options{Stderr: writer})
	_ = writer.Close()
	var wg sync.WaitGroup
	wg.Go(func() { drain(reader, nil) })
	h.ready()
	h.serving(10)
	_ = reader.Close()
	wg.Wait()
	r.note("%v", h.serving(pick(500, 5000)))
	r.note("stopped after %s", hosttest.MS(h.Stop(hangs)))
}

// drain reads a log until its end and passes each piece to a function.
func drain(f *os.File, to func(string)) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := f.Read(buffer)
		if err != nil {
			return
		}
		if to != nil {
			to(string(buffer[:n]))
		}
	}
}

func logStalled(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	reader, writer := pipe(t)
	h := start(t, p, options{Stderr: writer})
	_ = writer.Close()
	h.ready()
	const n, most = 3000, 30 // a buffer may hold some thousand lines
	dropped, sent, lost := 0.0, int64(0), int64(0)
	for k := 0; k < most && dropped == 0 && !t.Failed(); k++ {
		out := h.serving(n)
		sent, lost = sent+out.Sent.Load(), lost+out.Lost.Load()
		dropped = h.Metric("log_lines_dropped_total")
	}
	r.note("nobody reads: %d of %d requests lost, %.0f lines dropped", lost, sent, dropped)
	if dropped == 0 {
		t.Errorf("no line was counted as dropped")
	}
	var mu sync.Mutex
	var seen strings.Builder
	var wg sync.WaitGroup
	wg.Go(func() {
		drain(reader, func(s string) {
			mu.Lock()
			defer mu.Unlock()
			seen.WriteString(s)
		})
	})
	h.Eventually("the log goes on", func() bool {
		mu.Lock()
		seen.Reset()
		mu.Unlock()
		_, text := h.Send("POST", "/api/v1/predict", goodBody)
		_, id, _ := strings.Cut(text, `"request_id":"`)
		id, _, _ = strings.Cut(id, `"`)
		for range 50 {
			_ = h.Status("/health")
			mu.Lock()
			found := id != "" && strings.Contains(seen.String(), id)
			mu.Unlock()
			if found {
				return true
			}
		}
		return false
	})
	_ = reader.SetReadDeadline(time.Unix(1, 0)) // stop reading again
	wg.Wait()
	h.serving(n)
	r.note("with a sleeping reader it stopped after %s", hosttest.MS(h.Stop(hangs)))
}

func logNoSpace(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	device, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	h := start(t, p, options{Stderr: device}).ready()
	r.note("%v", h.serving(pick(500, 5000)))
	r.note("stopped after %s", hosttest.MS(h.Stop(hangs)))
}

func logFullDisk(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	disk := filepath.Join(p.Root, "disk")
	mountDisk(t, disk, "1m")
	f, err := os.OpenFile(filepath.Join(disk, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := start(t, p, options{Stderr: f}).ready()
	h.serving(10)
	filler := fill(t, disk)
	r.note("full disk: %v", h.serving(pick(500, 5000)))
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(disk, "log")
	had := len(readFile(t, file))
	h.Eventually("the log goes on", func() bool {
		h.serving(1)
		return len(readFile(t, file)) > had
	})
	r.note("with room the log went on; stopped after %s", hosttest.MS(h.Stop(hangs)))
}

// mountDisk mounts a small disk in memory. The cleanup unmounts it.
func mountDisk(t *testing.T, dir, size string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("faults", dir, "tmpfs", 0, "size="+size+",mode=0755"); err != nil {
		t.Skipf("mounting a disk in memory: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

// fill fills a disk with a file and returns its name.
func fill(t *testing.T, dir string) string {
	t.Helper()
	f, err := os.CreateTemp(dir, "filler-*")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 64 << 10; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	return f.Name()
}
