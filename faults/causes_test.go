package faults

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

func causeScenarios() []scenario {
	return []scenario{
		{
			id: "tmpdir-missing", does: "TMPDIR is not there at the start and comes later",
			must: "WASM models are loaded by themselves, not refused for good", run: tmpdirMissing,
		},
		{
			id: "tmpdir-full", does: "TMPDIR is full at the start and gets room later", root: true,
			must: "WASM models are loaded by themselves, not refused for good", run: tmpdirFull,
		},
		{
			id: "tmpdir-cleaned", does: "TMPDIR is emptied while the host runs",
			must: "models that come later are loaded, what serves goes on", run: tmpdirCleaned,
		},
		{
			id: "no-descriptors", does: "models come while there are no descriptors",
			must: "they are loaded by themselves when there are some; what serves goes on", run: noDescriptors,
		},
		{
			id: "no-processes", does: "a model comes while there can be no more processes", root: true,
			must: "it is loaded by itself when there can; what serves goes on", run: noProcesses,
		},
		{
			id: "load-by-hand", does: "a model whose load failed for want of TMPDIR is loaded over the API",
			must: "POST …/load tries again at once", run: loadByHand,
		},
		{
			id: "address-space", does: "ulimit -v of 3 GiB",
			must: "WASM models are loaded", run: addressSpace,
		},
	}
}

func tmpdirMissing(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	p.Tmp = filepath.Join(p.Root, "later")
	h := start(t, p, options{Cold: true})
	if v := h.Tried("good"); v.Status == "loaded" {
		r.note("it is not needed")
	} else {
		r.note("meanwhile: %s", brief(v.Error))
	}
	if err := os.Mkdir(p.Tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	r.note("loaded %s after it came", hosttest.MS(h.Serves("good")))
	h.ready()
	h.serving(10)
	h.Stop(hangs)
}

// brief shortens an error for the table.
func brief(s string) string {
	s = strings.NewReplacer("\n", "; ", "|", "/").Replace(s)
	const most = 160
	if len(s) > most {
		s = s[:most] + "…"
	}
	return s
}

func tmpdirFull(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	mountDisk(t, p.Tmp, "64m")
	filler := fill(t, p.Tmp)
	h := start(t, p, options{Cold: true})
	if v := h.Tried("good"); v.Status == "loaded" {
		t.Fatal("the model was loaded on a full disk")
	} else {
		r.note("meanwhile: %s", brief(v.Error))
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	r.note("loaded %s after there was room", hosttest.MS(h.Serves("good")))
	h.ready()
	h.serving(10)
	h.Stop(hangs)
}

func tmpdirCleaned(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	h := start(t, p, options{Cold: true}).ready()
	tr := h.Traffic()
	tr.More(50)
	entries, err := os.ReadDir(p.Tmp)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(p.Tmp, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	testkit.CopyModel(t, p.Models, "ecod-rust", "later", "1.0.0", nil)
	testkit.CopyModel(t, p.Models, "thyroid-ocsvm", "later-graph", "1.0.0", nil)
	took := h.Serves("later") + h.Serves("later-graph")
	tr.End()
	tr.None(t)
	r.note("%d entries removed; models loaded after %s; %v", len(entries), hosttest.MS(took), &tr.Tally)
	h.Stop(hangs)
}

func noDescriptors(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	h := start(t, p, options{Cold: true}).ready()
	tr := h.Traffic()
	tr.More(50)
	var old unix.Rlimit
	pid := h.Cmd.Process.Pid
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &old); err != nil {
		t.Fatal(err)
	}
	// Enough descriptors to check the directory, too few for a helper process.
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: leaving(t, pid, 4), Max: old.Max}, nil); err != nil {
		t.Fatal(err)
	}
	testkit.CopyModel(t, p.Models, "ecod-rust", "later", "1.0.0", nil)
	testkit.CopyModel(t, p.Models, "thyroid-ocsvm", "later-graph", "1.0.0", nil)
	tr.More(looks())
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &old, nil); err != nil {
		t.Fatal(err)
	}
	if v := h.Version("later"); v != nil {
		r.note("meanwhile %s: %s", v.Status, brief(v.Error))
	}
	took := h.Serves("later") + h.Serves("later-graph")
	tr.End()
	tr.None(t)
	r.note("models loaded %s after there were some; %v", hosttest.MS(took), &tr.Tally)
	h.Stop(hangs)
}

func noProcesses(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	g := newGroup(t, limits{pids: 1000})
	h := start(t, p, options{Cold: true, Groups: g.directories()}).ready()
	tr := h.Traffic()
	tr.More(100)
	// The host has threads in reserve, because a Go program that needs a thread and
	// cannot get one crashes. A helper process starts but cannot get the threads
	// that it needs.
	g.limitPids(t, g.pids(t)+2)
	testkit.CopyModel(t, p.Models, "thyroid-ocsvm", "later-graph", "1.0.0", nil)
	v := h.Tried("later-graph")
	tr.More(100)
	g.limitPids(t, 1000)
	r.note("meanwhile %s: %s", v.Status, brief(v.Error))
	took := h.Serves("later-graph")
	tr.End()
	tr.None(t)
	r.note("loaded %s after there could; %v", hosttest.MS(took), &tr.Tally)
	h.Stop(hangs)
}

// leaving returns the limit that leaves a process the given number of descriptors.
func leaving(t *testing.T, pid, more int) uint64 {
	t.Helper()
	for limit := uint64(0); ; limit++ {
		if _, err := os.Lstat(fmt.Sprintf("/proc/%d/fd/%d", pid, limit)); err == nil {
			continue
		}
		if more == 0 {
			return limit
		}
		more--
	}
}

func loadByHand(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	testkit.CopyModel(t, p.Models, "ecod-c", "good", "1.0.0", nil)
	p.Tmp = filepath.Join(p.Root, "later")
	h := start(t, p, options{Cold: true})
	h.Tried("good")
	if err := os.Mkdir(p.Tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	status, text := h.Send(http.MethodPost, "/api/v1/models/good/load", "")
	r.note("answered %d", status)
	if status != http.StatusOK {
		t.Errorf("loading by hand: %d %s", status, text)
	}
	h.Serves("good")
	h.Stop(hangs)
}

func addressSpace(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	o := options{Cold: true, Limits: map[int]uint64{unix.RLIMIT_AS: 3 << 30}}
	if os.Geteuid() == 0 { // root may raise limits
		o.UID = nobody
		p.Own(t, nobody)
	}
	h := start(t, p, o)
	v := h.Tried("good")
	r.note("%s %s", v.Status, brief(v.Error))
	if v.Status != "loaded" {
		t.Errorf("the model is %s: %s", v.Status, v.Error)
	}
	h.Stop(hangs)
}
