package process_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/process"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// TestState checks that a stateful plugin has one process, that a new process starts
// from the last snapshot, and that no batch is scored twice.
func TestState(t *testing.T) {
	a := artifact(t, `"stateful":true`, xy+"processes: 3\n")
	s := open(t, backend(t, a, nil), a)
	if i := s.Info(); !i.Stateful || i.Concurrency != 1 || len(processes(t)) != 1 {
		t.Errorf("%+v", i)
	}
	learn := func(n int) {
		t.Helper()
		if err := s.(sdk.Learner).Learn(t.Context(), rows(s.Info().Features, make([]float64, 2*n)...)); err != nil {
			t.Fatal(err)
		}
	}
	learned := func() float64 {
		t.Helper()
		got, err := score(t, s, 1, 2)
		if err != nil {
			t.Fatal(err)
		}
		return got[0]
	}
	learn(5)
	keeper := s.(sdk.Snapshotter)
	state, err := keeper.Save(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	learn(2)
	if n := learned(); n != 7 {
		t.Errorf("%v", n)
	}
	if _, err := score(t, s, -1001, 0); err == nil || errors.As(err, new(*backends.DownError)) {
		t.Errorf("a crash: %v", err)
	}
	if n := learned(); n != 5 {
		t.Errorf("after a crash %v", n)
	}
	if n := s.(sdk.Resetter).Resets(); n != 1 {
		t.Errorf("%d resets", n)
	}
	if err := keeper.Load(t.Context(), []byte("nonsense!")); err == nil || !strings.Contains(err.Error(), "a state has 8 bytes") {
		t.Errorf("%v", err)
	}
	if n := learned(); n != 5 {
		t.Errorf("after a state that was refused %v", n)
	}
	learn(3)
	if err := keeper.Load(t.Context(), state); err != nil || learned() != 5 {
		t.Errorf("%v", err)
	}
}

// TestSnapshotThatWillNotLoad checks that the model loses its state, once, and still
// serves.
func TestSnapshotThatWillNotLoad(t *testing.T) {
	a := artifact(t, `"stateful":true,"fault":"forgets"`, xy)
	log, logs := logger()
	s := open(t, backend(t, a, logs), a)
	if err := s.(sdk.Learner).Learn(t.Context(), rows(s.Info().Features, 1, 2)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.(sdk.Snapshotter).Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	kill(t, 9)
	testkit.Eventually(t, "it serves again", func() bool { got, err := score(t, s, 1, 2); return err == nil && got[0] == 0 })
	if n := s.(sdk.Resetter).Resets(); n != 1 {
		t.Errorf("%d resets", n)
	}
	if !strings.Contains(log.String(), "the last snapshot cannot be loaded") {
		t.Error("the log does not say so")
	}
}

// TestNothingIsLeft checks that closing leaves no process, not even a plugin's
// child, and no file.
func TestNothingIsLeft(t *testing.T) {
	// A short directory of its own: paths of sockets are bounded, and others use the usual one.
	dir, err := os.MkdirTemp("", "left-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", dir)
	a := artifact(t, `"fault":"children"`, xy+"processes: 2\n")
	b := backend(t, a, nil)
	s, err := b.Open(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "both are up, with a child each", func() bool { return len(processes(t)) == 4 })
	sockets := 0
	for _, pid := range processes(t) {
		sockets += len(found(t, fmt.Sprintf("/proc/%d/cwd/../*/plugin*", pid)))
	}
	if sockets != 0 {
		t.Errorf("%d sockets can still be connected to", sockets)
	}
	if err := errors.Join(s.Close(), b.Close()); err != nil {
		t.Error(err)
	}
	if left := processes(t); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if left := found(t, filepath.Join(dir, "pynomaly-process-*")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func found(t testing.TB, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestBytesThatWereChecked checks that the host runs the bytes that it read, even if
// the file changes, and that the plugin cannot change the model's files.
func TestBytesThatWereChecked(t *testing.T) {
	a := artifact(t, "", xy)
	script := []byte("#!/bin/sh\nif echo x 2>/dev/null >>plugin.json; then echo could write >&2; fi\nls -l >&2\nexit 5\n")
	a.Bytes, a.Manifest.Command = script, []string{"plugin"}
	b := backend(t, a, nil)
	_, err := b.Open(t.Context(), a)
	if err == nil || !strings.Contains(err.Error(), "exit status 5") || (os.Geteuid() == 0 && strings.Contains(err.Error(), "could write")) {
		t.Errorf("%v", err)
	}
}

// TestManyAtOnce starts and ends plugins concurrently.
func TestManyAtOnce(t *testing.T) {
	a := artifact(t, "", xy)
	b := backend(t, a, nil)
	var scored atomic.Int64
	var wg sync.WaitGroup
	for n := range 6 {
		wg.Go(func() {
			s, err := b.Open(t.Context(), a)
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := score(t, s, float64(n), 1); err != nil || got[0] != float64(n+1) {
				t.Errorf("%v, %v", got, err)
			}
			scored.Add(1)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if scored.Load() != 6 || len(processes(t)) != 0 {
		t.Errorf("%d scored; left: %v", scored.Load(), processes(t))
	}
}

// TestKeeperKilled checks that a killed keeper is replaced. Without a keeper, a
// killed host would leave processes behind.
func TestKeeperKilled(t *testing.T) {
	a := artifact(t, "", xy)
	s := open(t, backend(t, a, nil), a)
	keepers := func() (pids []int) {
		t.Helper()
		for _, pid := range children(t) {
			args, err := os.ReadFile("/proc/" + pid + "/cmdline")
			if n, bad := strconv.Atoi(pid); err == nil && bad == nil && strings.Contains(string(args), process.KeeperRole) && !slices.Contains(pids, n) {
				pids = append(pids, n)
			}
		}
		return pids
	}
	before := keepers()
	if len(before) != 1 {
		t.Fatalf("%d keepers", len(before))
	}
	testkit.Eventually(t, "the keeper has run for longer than one that fails at once", func() bool {
		info, err := os.Stat(fmt.Sprintf("/proc/%d", before[0]))
		return err == nil && time.Since(info.ModTime()) > 600*time.Millisecond
	})
	if err := syscall.Kill(before[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "there is another keeper", func() bool {
		now := keepers()
		return len(now) == 1 && now[0] != before[0]
	})
	if got, err := score(t, s, 1, 2); err != nil || got[0] != 3 {
		t.Errorf("%v, %v", got, err)
	}
}

// TestNoNewPrivileges checks that neither a plugin nor its helpers gain privileges
// by running a program.
func TestNoNewPrivileges(t *testing.T) {
	a := artifact(t, "", xy)
	open(t, backend(t, a, nil), a)
	// A plugin's parent is its supervisor, whose parent is the keeper.
	for pid, kind := processes(t)[0], 0; kind < 3; kind++ {
		if none, _ := testkit.Confined(pid); !none {
			t.Errorf("process %d, %d levels above the plugin, may gain privileges", pid, kind)
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(string(text), ") ")
		if pid, err = strconv.Atoi(strings.Fields(after)[1]); err != nil {
			t.Fatal(err)
		}
		if kind == 2 && pid != os.Getpid() {
			t.Errorf("the keeper is a child of %d", pid)
		}
	}
}

// children returns the children of all threads of this process.
func children(t testing.TB) (pids []string) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		out, err := os.ReadFile(file)
		if err == nil { // threads may end meanwhile
			pids = append(pids, strings.Fields(string(out))...)
		}
	}
	return pids
}
