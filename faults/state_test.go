package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

func stateScenarios() []scenario {
	return []scenario{
		{
			id: "killed", does: "kill -9 while a model learns, then a new host at the same place",
			must: "it serves; what was learned before the last snapshot is there; nothing is left of the old one", run: killed,
		},
		{
			id: "state-removed", does: "the directory of snapshots is removed while the host runs",
			must: "what is learned is kept all the same", run: stateRemoved,
		},
		{
			id: "state-unwritable", does: "a file stands where the directory of snapshots was, and goes away later",
			must: "the model goes on learning, the log says that nothing is kept; it is kept when it can be", run: stateUnwritable,
		},
		{
			id: "state-full", does: "the disk of state_dir is full, and gets room later", root: true,
			must: "the model goes on learning, the log says that nothing is kept; it is kept when it can be", run: stateFull,
		},
	}
}

// counter writes a stateful model whose score is the number of rows that it has
// learned.
func counter(t *testing.T, p place) {
	t.Helper()
	testkit.WriteFaulty(t, p.Models, "counter", `"stateful":true`, "stateful: true\nsnapshot_interval: 100ms\n")
}

// learn makes the counter learn n rows.
func (h *host) learn(n int) {
	h.T.Helper()
	for range n {
		if status, text := h.Send("POST", "/api/v1/models/counter/learn", `{"data": [[1, 2]]}`); status != 200 {
			h.T.Fatalf("learning: %d %s", status, text)
		}
	}
}

// learned returns how many rows the counter has learned.
func (h *host) learned() int {
	h.T.Helper()
	status, text := h.Send("POST", "/api/v1/predict", `{"model_id": "counter", "data": [1, 2]}`)
	var p api.Prediction
	if err := json.Unmarshal([]byte(text), &p); err != nil || status != 200 {
		h.T.Fatalf("reading the counter: %d %s", status, text)
	}
	return int(p.Score)
}

func (h *host) snapshots() string { return filepath.Join(h.State, "snapshots") }

// snapshot waits until a snapshot has everything that was learned before this call.
func (h *host) snapshot() {
	h.T.Helper()
	for range 2 { // the first one may have been in progress
		before := newest(h.snapshots())
		h.learn(1) // an unchanged state need not be written
		h.Eventually("a snapshot is written", func() bool { return newest(h.snapshots()).After(before) })
	}
}

func newest(dir string) time.Time {
	var last time.Time
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if info, err := e.Info(); err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last
}

func killed(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	counter(t, p)
	random := rand.New(rand.NewPCG(seed(), 9))
	rounds, least, most := pick(3, 15), 0, 0
	for round := range rounds {
		h := start(t, p, options{Plugins: true, Cold: true}).ready()
		have := h.learned()
		if have < least || have > most {
			t.Errorf("after %d ends the model knows %d rows, want %d to %d", round, have, least, most)
		}
		h.learn(20)
		h.snapshot()
		least = h.learned()
		more := random.IntN(50)
		h.learn(more)
		most = h.learned()
		h.Signal(syscall.SIGKILL)
		h.Wait(hangs)
	}
	h := start(t, p, options{Plugins: true, Cold: true}).ready()
	have := h.learned()
	r.note("%d ends: the model knows %d rows, %d were kept and %d learned", rounds, have, least, most)
	if have < least || have > most {
		t.Errorf("the model knows %d rows, want %d to %d", have, least, most)
	}
	h.serving(20)
	h.Stop(hangs)
	if aside, _ := filepath.Glob(filepath.Join(h.snapshots(), "*.unusable")); len(aside) > 0 {
		t.Errorf("snapshots could not be used: %v", aside)
	}
	var left []string
	testkit.Eventually(t, "plugins of hosts that were killed are gone", func() bool {
		left, _ = filepath.Glob(filepath.Join(p.Tmp, "pynomaly-process-*"))
		return len(left) == 0
	})
	left, _ = filepath.Glob(filepath.Join(p.Tmp, "pynomaly-*"))
	r.note("%d left over in TMPDIR", len(left))
	if len(left) > 0 {
		t.Errorf("left over in TMPDIR: %v", left)
	}
}

// keepsAgain makes the counter learn during a fault and afterwards. It then starts
// another host, which must have the whole state.
func keepsAgain(t *testing.T, r *row, p place, harm, end func() error) {
	t.Helper()
	h := start(t, p, options{Plugins: true}).ready()
	h.learn(10)
	h.snapshot()
	begin := len(h.Log())
	if err := harm(); err != nil {
		t.Fatal(err)
	}
	before := h.learned()
	h.learn(50)
	if got := h.learned(); got != before+50 {
		t.Errorf("meanwhile the model knows %d rows, want %d", got, before+50)
	}
	if end != nil {
		h.Eventually("the log says that the state is not kept", func() bool {
			h.learn(1)
			return strings.Contains(h.Log()[begin:], "snapshot")
		})
		if err := end(); err != nil {
			t.Fatal(err)
		}
	}
	h.snapshot()
	want := h.learned()
	h.Stop(hangs)
	h = start(t, p, options{Plugins: true}).ready()
	got := h.learned()
	r.note("%d rows learned, the next host knows %d", want, got)
	if got != want {
		t.Errorf("the next host knows %d rows, want %d", got, want)
	}
	h.Stop(hangs)
}

func stateRemoved(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	counter(t, p)
	keepsAgain(t, r, p, func() error { return os.RemoveAll(filepath.Join(p.State, "snapshots")) }, nil)
}

func stateUnwritable(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	counter(t, p)
	dir := filepath.Join(p.State, "snapshots")
	keepsAgain(t, r, p,
		func() error { return errors.Join(os.Rename(dir, dir+".aside"), os.WriteFile(dir, nil, 0o600)) },
		func() error { return errors.Join(os.Remove(dir), os.Rename(dir+".aside", dir)) })
}

func stateFull(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	counter(t, p)
	mountDisk(t, p.State, "1m")
	filler := ""
	keepsAgain(t, r, p,
		func() error { filler = fill(t, p.State); return nil },
		func() error {
			if filler == "" {
				return fmt.Errorf("the disk was not filled")
			}
			return os.Remove(filler)
		})
}
