package onnx_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
	"github.com/pynomaly/pynomaly-runtime/internal/child"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// probes returns the ids of this process's children that prove graphs.
func probes(t *testing.T) []int {
	t.Helper()
	return testkit.Helpers(t, onnx.ProbeRole)
}

// TestProofKilled checks that a proof that was killed, as by the kernel's OOM
// killer, is no verdict on the graph.
func TestProofKilled(t *testing.T) {
	b := testkit.ONNX(t, t.TempDir())
	ended := make(chan error, 1)
	go func() {
		_, err := open(t, b, testkit.Testdata("bad", "infinite-loop.onnx"), func(m *manifest.Manifest) {
			m.Trusted = true
			m.Limits.LoadTimeout = time.Hour
		})
		ended <- err
	}()
	testkit.Eventually(t, "a proof is running", func() bool { return len(probes(t)) == 1 })
	if err := syscall.Kill(probes(t)[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, backends.ErrSurroundings) || errors.Is(err, backends.ErrRefused) || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("%v", err)
	}
}

// TestProofsAreShared checks that graphs of the same bytes, bounds and binding
// are proved once, even if several loads ask at the same time, and that no more
// proofs run than the limiter allows.
func TestProofsAreShared(t *testing.T) {
	testkit.NeedRuntime(t)
	state := t.TempDir()
	b := onnx.New(onnx.Config{
		Library: testkit.Library(), Probe: onnx.ProbeChild, StateDir: state,
		Limiter: child.NewLimiter(1, 1<<20), Log: slog.New(slog.DiscardHandler), // each proof needs more and so runs alone
	})
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	file := testkit.Testdata("models", "thyroid-autoencoder", "1.0.0", "model.onnx")
	all := func(kinds int) {
		t.Helper()
		stop, counted := make(chan struct{}), make(chan int)
		go func() {
			most := 0
			for {
				select {
				case <-stop:
					counted <- most
					return
				default:
					most = max(most, len(probes(t)))
				}
			}
		}()
		var wg sync.WaitGroup
		for n := range 8 {
			wg.Go(func() {
				if _, err := open(t, b, file, func(m *manifest.Manifest) { m.Limits.MaxBatchRows = 1000 + n%kinds }); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		close(stop)
		if most := <-counted; most > 1 {
			t.Errorf("%d proofs ran at once", most)
		}
	}
	all(1)
	proved := func() int {
		names, err := filepath.Glob(filepath.Join(state, "onnx-proved", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	if n := proved(); n != 1 {
		t.Errorf("%d proofs were kept", n)
	}
	// If somebody removes the directory of proofs, it is made again.
	if err := os.RemoveAll(state); err != nil {
		t.Fatal(err)
	}
	all(3)
	if n := proved(); n != 2 { // the first one is still in memory
		t.Errorf("%d proofs were kept, want 2", n)
	}
}

// TestChildWithoutLibrary checks that a child that cannot load the library does
// not condemn the graph: the host could load it.
func TestChildWithoutLibrary(t *testing.T) {
	testkit.NeedRuntime(t)
	data, err := os.ReadFile(testkit.Library())
	if err != nil {
		t.Fatal(err)
	}
	library := filepath.Join(t.TempDir(), "libonnxruntime.so")
	if err := os.WriteFile(library, data, 0o600); err != nil {
		t.Fatal(err)
	}
	b := onnx.New(onnx.Config{Library: library, Probe: onnx.ProbeChild, Log: slog.New(slog.DiscardHandler)})
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(library); err != nil {
		t.Fatal(err)
	}
	_, err = open(t, b, testkit.Testdata("models", "thyroid-autoencoder", "1.0.0", "model.onnx"), nil)
	if !errors.Is(err, backends.ErrSurroundings) || !strings.Contains(fmt.Sprint(err), library) {
		t.Errorf("%v", err)
	}
}

// TestLibraryComesLater checks that a library that appears while the host runs
// is found.
func TestLibraryComesLater(t *testing.T) {
	testkit.NeedRuntime(t)
	library := filepath.Join(t.TempDir(), "libonnxruntime.so")
	b := onnx.New(onnx.Config{Library: library, Probe: onnx.ProbeChild, Log: slog.New(slog.DiscardHandler)})
	file := testkit.Testdata("models", "thyroid-autoencoder", "1.0.0", "model.onnx")
	if _, err := open(t, b, file, nil); !errors.Is(err, backends.ErrUnavailable) || !backends.Surroundings(err) {
		t.Errorf("without a library: %v", err)
	}
	if err := os.Symlink(testkit.Library(), library); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, b, file, nil); err != nil {
		t.Errorf("with one: %v", err)
	}
}

// TestProofIsConfined checks that the probe's process can reach nothing while
// the graph is in use.
func TestProofIsConfined(t *testing.T) {
	if !child.Confined().Seccomp {
		t.Skip("this kernel or container has no filters of system calls")
	}
	b := testkit.ONNX(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a, err := artifact(t, b, testkit.Testdata("bad", "infinite-loop.onnx"), func(m *manifest.Manifest) {
		m.Trusted = true
		m.Limits.LoadTimeout = time.Hour
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := b.Open(ctx, a)
		ended <- err
	}()
	testkit.Eventually(t, "the process is confined", func() bool {
		for _, pid := range probes(t) {
			if none, filtered := testkit.Confined(pid); none && filtered {
				return true
			}
		}
		return false
	})
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
