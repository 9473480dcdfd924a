package faults

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

func volumeScenarios() []scenario {
	return []scenario{
		{
			id: "models-emptied", does: "the models directory turns empty for a while",
			must: "what serves goes on serving, no request is lost", run: modelsEmptied,
		},
		{
			id: "models-gone", does: "the models directory is renamed away for a while",
			must: "what serves goes on serving, no request is lost", run: modelsGone,
		},
		{
			id: "model-unreadable", does: "a model's directory may not be listed for a while (EACCES)",
			must: "what serves goes on serving, no request is lost", run: modelUnreadable,
		},
		{
			id: "models-unmounted", does: "the models volume is unmounted for a while", root: true,
			must: "what serves goes on serving, no request is lost", run: modelsUnmounted,
		},
		{
			id: "models-io-error", does: "a file system answers EIO, ESTALE and EACCES for the models (FUSE)", root: true,
			must: "what serves goes on serving, no request is lost", run: modelsIOError,
		},
	}
}

// looks returns how many requests take longer than several checks of the models
// directory. The host checks it every 200 ms, and two clients send a request every 5
// ms each.
func looks() int64 { return pick(int64(400), 1600) }

// whileServing causes a fault, sends requests, ends the fault and sends more. No
// request may be lost, and the host must still follow its directory.
func whileServing(t *testing.T, r *row, h *host, harm, end func() error) {
	t.Helper()
	h.Serves("good")
	h.Serves("graph")
	tr := h.Traffic()
	tr.More(50)
	if err := harm(); err != nil {
		t.Fatal(err)
	}
	tr.More(looks())
	meanwhile := tr.Lost.Load()
	if err := end(); err != nil {
		t.Fatal(err)
	}
	tr.More(looks())
	tr.End()
	tr.None(t)
	r.note("%v (%d meanwhile)", &tr.Tally, meanwhile)
	for _, id := range []string{"good", "graph"} {
		h.Serves(id)
	}
}

func modelsEmptied(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	h := start(t, p, options{}).ready()
	aside := filepath.Join(p.Root, "aside")
	if err := os.Mkdir(aside, 0o755); err != nil {
		t.Fatal(err)
	}
	move := func(from, to string) error {
		entries, err := os.ReadDir(from)
		if err != nil {
			return err
		}
		for _, e := range entries {
			err = errors.Join(err, os.Rename(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())))
		}
		return err
	}
	whileServing(t, r, h, func() error { return move(p.Models, aside) }, func() error { return move(aside, p.Models) })
	h.Stop(hangs)
}

func modelsGone(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	h := start(t, p, options{}).ready()
	aside := filepath.Join(p.Root, "aside")
	whileServing(t, r, h, func() error { return os.Rename(p.Models, aside) }, func() error { return os.Rename(aside, p.Models) })
	h.Stop(hangs)
}

// nobody is a user without rights.
const nobody = 65534

func modelUnreadable(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	var o options
	if os.Geteuid() == 0 { // root can read everything
		o.UID = nobody
		p.Own(t, nobody)
	}
	h := start(t, p, o).ready()
	dirs := []string{filepath.Join(p.Models, "good"), filepath.Join(p.Models, "graph", "1.0.0")}
	chmod := func(mode os.FileMode) func() error {
		return func() error { return errors.Join(os.Chmod(dirs[0], mode), os.Chmod(dirs[1], mode)) }
	}
	t.Cleanup(func() { _ = chmod(0o755)() })
	whileServing(t, r, h, chmod(0), chmod(0o755))
	h.Stop(hangs)
}

func modelsUnmounted(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	volume := filepath.Join(p.Root, "volume")
	if err := os.Mkdir(volume, 0o755); err != nil {
		t.Fatal(err)
	}
	goodModels(t, place{Models: volume})
	mount := func() error { return unix.Mount(volume, p.Models, "", unix.MS_BIND, "") }
	unmount := func() error { return unix.Unmount(p.Models, unix.MNT_DETACH) }
	if err := mount(); err != nil {
		t.Skipf("mounting the volume: %v", err)
	}
	t.Cleanup(func() { _ = unmount() })
	h := start(t, p, options{}).ready()
	whileServing(t, r, h, unmount, mount)
	h.Stop(hangs)
}

func modelsIOError(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	volume := filepath.Join(p.Root, "volume")
	if err := os.Mkdir(volume, 0o755); err != nil {
		t.Fatal(err)
	}
	goodModels(t, place{Models: volume})
	disk := mountFailing(t, volume, p.Models)
	h := start(t, p, options{}).ready()
	type failure struct {
		below string
		errno syscall.Errno
	}
	all := []failure{
		{"good", syscall.EIO}, {"graph/1.0.0", syscall.ESTALE}, {"", syscall.EIO},
		{"", syscall.ESTALE}, {"graph", syscall.EACCES}, {"good/1.0.0", syscall.EIO},
	}
	for _, f := range all[:pick(3, len(all))] {
		r.note("%s at %q:", unix.ErrnoName(f.errno), "models/"+f.below)
		whileServing(t, r, h, func() error { disk.fail(f.below, f.errno); return nil }, func() error { disk.fail("", 0); return nil })
	}
	h.Stop(hangs)
}
