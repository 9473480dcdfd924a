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
	p := newPlace(t)
	goodModels(t, p)
	p.tmp = filepath.Join(p.root, "later")
	h := start(t, p, options{cold: true})
	if v := h.tried("good"); v.Status == "loaded" {
		r.note("it is not needed")
	} else {
		r.note("meanwhile: %s", brief(v.Error))
	}
	if err := os.Mkdir(p.tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	r.note("loaded %s after it came", ms(h.serves("good")))
	h.ready()
	h.serving(10)
	h.stop(hangs)
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
	p := newPlace(t)
	goodModels(t, p)
	mountDisk(t, p.tmp, "64m")
	filler := fill(t, p.tmp)
	h := start(t, p, options{cold: true})
	if v := h.tried("good"); v.Status == "loaded" {
		t.Fatal("the model was loaded on a full disk")
	} else {
		r.note("meanwhile: %s", brief(v.Error))
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	r.note("loaded %s after there was room", ms(h.serves("good")))
	h.ready()
	h.serving(10)
	h.stop(hangs)
}

func tmpdirCleaned(t *testing.T, r *row) {
	p := newPlace(t)
	goodModels(t, p)
	h := start(t, p, options{cold: true}).ready()
	tr := h.traffic()
	tr.more(h, 50)
	entries, err := os.ReadDir(p.tmp)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(p.tmp, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	testkit.CopyModel(t, p.models, "ecod-rust", "later", "1.0.0", nil)
	testkit.CopyModel(t, p.models, "thyroid-ocsvm", "later-graph", "1.0.0", nil)
	took := h.serves("later") + h.serves("later-graph")
	tr.end()
	tr.none(t)
	r.note("%d entries removed; models loaded after %s; %v", len(entries), ms(took), &tr.tally)
	h.stop(hangs)
}

func noDescriptors(t *testing.T, r *row) {
	p := newPlace(t)
	goodModels(t, p)
	h := start(t, p, options{cold: true}).ready()
	tr := h.traffic()
	tr.more(h, 50)
	var old unix.Rlimit
	pid := h.cmd.Process.Pid
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &old); err != nil {
		t.Fatal(err)
	}
	// Enough to look at the directory, too few for a helper process.
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: leaving(t, pid, 4), Max: old.Max}, nil); err != nil {
		t.Fatal(err)
	}
	testkit.CopyModel(t, p.models, "ecod-rust", "later", "1.0.0", nil)
	testkit.CopyModel(t, p.models, "thyroid-ocsvm", "later-graph", "1.0.0", nil)
	tr.more(h, looks())
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &old, nil); err != nil {
		t.Fatal(err)
	}
	if v := h.version("later"); v != nil {
		r.note("meanwhile %s: %s", v.Status, brief(v.Error))
	}
	took := h.serves("later") + h.serves("later-graph")
	tr.end()
	tr.none(t)
	r.note("models loaded %s after there were some; %v", ms(took), &tr.tally)
	h.stop(hangs)
}

func noProcesses(t *testing.T, r *row) {
	p := newPlace(t)
	goodModels(t, p)
	g := newGroup(t, limits{pids: 1000})
	h := start(t, p, options{cold: true, group: g}).ready()
	tr := h.traffic()
	tr.more(h, 100)
	// The host gets its threads first: no Go program survives that it can have no more.
	for i := range 6 {
		id := fmt.Sprintf("warm-%d", i)
		distinct(t, testkit.CopyModel(t, p.models, "thyroid-autoencoder", id, "1.0.0", nil), i)
	}
	for i := range 6 {
		h.serves(fmt.Sprintf("warm-%d", i))
	}
	burst(h.url, 32, 1000, always(graphBody)).none(t)
	// A helper process starts, and cannot have the threads that it needs.
	g.limitPids(t, g.pids(t)+2)
	testkit.CopyModel(t, p.models, "thyroid-ocsvm", "later-graph", "1.0.0", nil)
	v := h.tried("later-graph")
	tr.more(h, 100)
	g.limitPids(t, 1000)
	r.note("meanwhile %s: %s", v.Status, brief(v.Error))
	took := h.serves("later-graph")
	tr.end()
	tr.none(t)
	r.note("loaded %s after there could; %v", ms(took), &tr.tally)
	h.stop(hangs)
}

// leaving returns the limit of descriptors that leaves a process so many more.
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
	p := newPlace(t)
	testkit.CopyModel(t, p.models, "ecod-c", "good", "1.0.0", nil)
	p.tmp = filepath.Join(p.root, "later")
	h := start(t, p, options{cold: true})
	h.tried("good")
	if err := os.Mkdir(p.tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	status, text := h.send(http.MethodPost, "/api/v1/models/good/load", "")
	r.note("answered %d", status)
	if status != http.StatusOK {
		t.Errorf("loading by hand: %d %s", status, text)
	}
	h.serves("good")
	h.stop(hangs)
}

func addressSpace(t *testing.T, r *row) {
	p := newPlace(t)
	goodModels(t, p)
	o := options{cold: true, limits: map[int]uint64{unix.RLIMIT_AS: 3 << 30}}
	if os.Geteuid() == 0 { // who may raise limits
		o.uid = nobody
		p.own(t, nobody)
	}
	h := start(t, p, o)
	v := h.tried("good")
	r.note("%s %s", v.Status, brief(v.Error))
	if v.Status != "loaded" {
		t.Errorf("the model is %s: %s", v.Status, v.Error)
	}
	h.stop(hangs)
}
