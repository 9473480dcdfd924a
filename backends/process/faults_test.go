package process_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/process"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// processes returns the processes whose environment marks them as plugins of this
// host or as children of these.
func processes(t testing.TB) []int {
	t.Helper()
	return pluginsOf(t, os.Getpid())
}

func pluginsOf(t testing.TB, host int) []int {
	t.Helper()
	mark := fmt.Sprintf("%s=%d\x00", process.HostEnv, host)
	var out []int
	for _, file := range found(t, "/proc/[0-9]*/environ") {
		data, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(data), mark) {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(file, "/")[2])
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, pid)
	}
	return out
}

func gone(t testing.TB) {
	t.Helper()
	testkit.Eventually(t, "no process is left", func() bool { return len(processes(t)) == 0 })
}

// TestFaultsAtStart checks that a plugin that does not start properly is refused in
// time, with the cause, and that nothing of it is left.
func TestFaultsAtStart(t *testing.T) {
	for fault, want := range map[string]string{
		"exit":            "exit status 3",
		"silent":          "did not start in time: limits.load_timeout is $; raise it in model.yaml (the host's limits.max.load_timeout bounds it)",
		"garbage":         "it printed: Hello from a library that prints a banner",
		"long":            "it printed more than 1048576 bytes or 10000 lines to its standard output before it began as a plugin does",
		"elsewhere":       "/var/run/docker.sock, which is not a socket in",
		"tcp":             "listens at tcp 127.0.0.1:22",
		"closes":          "Failed to read any lines",
		"refuses":         `config is {"a":1}`,
		"panics":          "the detector panicked: at configure",
		"dies":            "exit status 7",
		"hangs":           "was not configured in time: limits.load_timeout is $; raise it in model.yaml",
		"bad-dtype":       `its dtype is "complex128"`,
		"bad-orientation": `its orientation is "upside_down"`,
		"many-features":   "larger than max",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			patience := []time.Duration{5 * time.Minute} // for plugins that end by themselves
			switch fault {
			case "silent":
				patience = []time.Duration{time.Second}
			case "garbage", "hangs": // they must get so far first, which takes longer on a busy machine
				patience = []time.Duration{2 * time.Second, 15 * time.Second, 5 * time.Minute}
			}
			var err error
			var said string
			for _, p := range patience {
				a := artifact(t, `"fault":"`+fault+`"`, xy+"limits: {load_timeout: "+p.String()+"}\nconfig: {a: 1}\n")
				_, err = testkit.Processes(t, a.Dir, nil).Open(t.Context(), a)
				if said = strings.Replace(want, "$", p.String(), 1); err != nil && strings.Contains(err.Error(), said) {
					break
				}
			}
			if !errors.Is(err, backends.ErrRefused) || !strings.Contains(err.Error(), said) {
				t.Errorf("%v, want %q", err, said)
			}
			if fault == "exit" && !strings.Contains(err.Error(), "exit status 3; it printed: cannot find libfancy.so (") {
				t.Errorf("the reason is not the first: %v", err)
			}
			if strings.Contains(err.Error(), "goroutine") || strings.Contains(err.Error(), "plugin address") {
				t.Errorf("more than the reason: %v", err)
			}
		})
	}
	t.Cleanup(func() { gone(t) })
}

// TestNoSuchProgram checks that a program that cannot run is refused with a reason.
func TestNoSuchProgram(t *testing.T) {
	a := artifact(t, "", xy)
	b := backend(t, a, nil)
	a.Bytes = []byte("no program")
	if _, err := b.Open(t.Context(), a); err == nil || !strings.Contains(err.Error(), "exec format error") {
		t.Errorf("%v", err)
	}
	a.Manifest.Command = []string{"no-such-interpreter", "plugin"}
	if _, err := b.Open(t.Context(), a); err == nil || !strings.Contains(err.Error(), "not found in $PATH") {
		t.Errorf("%v", err)
	}
	a.Manifest.Command = []string{"./other", "x"}
	if _, err := b.Open(t.Context(), a); err == nil || !strings.Contains(err.Error(), "not a file of the model") {
		t.Errorf("%v", err)
	}
}

// TestStandardError checks that nothing that a plugin prints harms the host. The
// host logs well-formed lines and drops excess output.
func TestStandardError(t *testing.T) {
	a := artifact(t, `"fault":"level"`, xy)
	log, logs := logger()
	s := open(t, backend(t, a, logs), a)
	if _, err := score(t, s, 1, 2); err != nil {
		t.Error(err)
	}
	testkit.Eventually(t, "the log has all lines", func() bool {
		return strings.Contains(log.String(), `{\"@level\":1}`) && strings.Contains(log.String(), `level=WARN msg="plugin printed" model_id=m version=1.0.0 text="well-formed {\"key\":\"value\"}"`)
	})
	a = artifact(t, `"fault":"gigabyte"`, xy+"limits: {load_timeout: 5m}\n")
	log, logs = logger()
	s = open(t, backend(t, a, logs), a)
	if got, err := score(t, s, 1, 2); err != nil || got[0] != 3 {
		t.Errorf("%v, %v", got, err)
	}
	if size := len(log.String()); size > 10<<20 {
		t.Errorf("the log has %d bytes", size)
	}
}

func kill(t testing.TB, signal syscall.Signal) {
	t.Helper()
	for _, pid := range processes(t) {
		if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Error(err)
		}
	}
}

// TestCrashedBatch checks that another process scores a batch whose process is
// killed, and that no call fails while a process is up.
func TestCrashedBatch(t *testing.T) {
	a := artifact(t, `"delay":100`, xy+"processes: 2\n")
	s := open(t, backend(t, a, nil), a)
	testkit.Eventually(t, "both are up", func() bool { return len(processes(t)) == 2 })
	for range 3 {
		var wg sync.WaitGroup
		for n := range 4 {
			wg.Go(func() {
				if got, err := score(t, s, float64(n), 2); err != nil || got[0] != float64(n+2) {
					t.Errorf("%v, %v", got, err)
				}
			})
		}
		if pids := processes(t); len(pids) > 0 {
			_ = syscall.Kill(pids[0], syscall.SIGKILL)
		}
		wg.Wait()
		testkit.Eventually(t, "both are up again", func() bool { return len(processes(t)) == 2 })
	}
}

// TestPoison checks that a batch that ends every process is given up after two, and
// that the plugin then serves again.
func TestPoison(t *testing.T) {
	a := artifact(t, "", xy)
	log, logs := logger()
	s := open(t, backend(t, a, logs), a)
	var down *backends.DownError
	if _, err := score(t, s, -1001, 0); !errors.As(err, &down) || down.RetryAfter <= 0 || !strings.Contains(down.Reason, "exit status 9") {
		t.Errorf("%v", err)
	}
	testkit.Eventually(t, "it serves again", func() bool { got, err := score(t, s, 1, 2); return err == nil && got[0] == 3 })
	if !strings.Contains(log.String(), "exit status 9") {
		t.Error("the log does not say why")
	}
	if _, err := score(t, s, -1006, 0); err == nil || !strings.Contains(err.Error(), "the detector panicked: at a row") {
		t.Errorf("%v", err)
	}
	if got, err := score(t, s, -1007, 1); err != nil || got[0] != -1006 {
		t.Errorf("a plugin that asks to be called again: %v, %v", got, err)
	}
}

// TestPoisonAmongOthers checks that calls succeed although another call ends the
// process that they share.
func TestPoisonAmongOthers(t *testing.T) {
	a := artifact(t, `"delay":50,"concurrency":8`, xy+"processes: 2\n")
	s := open(t, backend(t, a, nil), a)
	testkit.Eventually(t, "both are up", func() bool { return len(processes(t)) == 2 })
	var wg sync.WaitGroup
	for n := range 16 {
		wg.Go(func() {
			x := float64(n)
			if n == 7 {
				x = -1001
			}
			got, err := score(t, s, x, 2)
			var down *backends.DownError
			switch {
			case n == 7 && (!errors.As(err, &down) || !down.Suspect):
				t.Errorf("the row at fault: %v", err)
			case n != 7 && (err != nil || got[0] != x+2):
				t.Errorf("row %d: %v, %v", n, got, err)
			}
		})
	}
	wg.Wait()
}

// TestUnavailable checks that a call fails with a time to retry if the plugin keeps
// asking for it to be repeated.
func TestUnavailable(t *testing.T) {
	a := artifact(t, `"fault":"never"`, xy)
	s := open(t, backend(t, a, nil), a)
	var down *backends.DownError
	if _, err := score(t, s, -1007, 1); !errors.As(err, &down) || !strings.Contains(down.Reason, "warming up") {
		t.Errorf("%v", err)
	}
	if got, err := score(t, s, 1, 2); err != nil || got[0] != 3 {
		t.Errorf("%v, %v", got, err)
	}
}

// TestLongEnvironment checks that an environment may be longer than one argument may
// be.
func TestLongEnvironment(t *testing.T) {
	a := artifact(t, "", xy)
	b := process.New(process.Config{
		Allow: []process.Allowed{{Path: a.Dir}}, User: testkit.PluginUser(), Random: func() float64 { return 0.5 }, Log: discard(),
		Env: map[string]string{"A": strings.Repeat("x", 100_000), "B": strings.Repeat("y", 100_000)},
	})
	defer b.Close()
	s, err := b.Open(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestDown checks that calls are refused at once, with a time to retry, while no
// process is up or starting.
func TestDown(t *testing.T) {
	a := artifact(t, "", xy)
	s := open(t, backend(t, a, nil), a)
	health, ok := s.(sdk.HealthChecker)
	if !ok {
		t.Fatal("it is not an sdk.HealthChecker")
	}
	var down *backends.DownError
	testkit.Eventually(t, "it is down, and says so", func() bool {
		kill(t, syscall.SIGKILL)
		_, err := score(t, s, 1, 2)
		return errors.As(err, &down) && strings.Contains(err.Error(), "its process is down") && errors.As(health.Health(t.Context()), new(*backends.DownError))
	})
	if down.RetryAfter < time.Second || !strings.Contains(down.Reason, "signal: killed") {
		t.Errorf("%+v", down)
	}
	testkit.Eventually(t, "it serves again", func() bool { _, err := score(t, s, 1, 2); return err == nil })
}

// TestStopped checks that a stopped process is ended and that another scores its
// call.
func TestStopped(t *testing.T) {
	a := artifact(t, "", xy)
	log, logs := logger()
	s := open(t, backend(t, a, logs), a)
	kill(t, syscall.SIGSTOP)
	if got, err := score(t, s, 1, 2); err != nil || got[0] != 3 {
		t.Errorf("%v, %v", got, err)
	}
	testkit.Eventually(t, "the log says why", func() bool { return strings.Contains(log.String(), "SIGSTOP") })
}

// TestLate checks that a call returns at its deadline. A plugin that returns later
// continues to serve; one that does not is ended.
func TestLate(t *testing.T) {
	late := func(s sdk.Scorer, x float64) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if err := s.Score(ctx, rows(s.Info().Features, x, 0), make([]float64, 1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	}
	a := artifact(t, `"concurrency":1`, xy)
	s := open(t, backend(t, a, nil), a)
	before := processes(t)
	late(s, -1003)
	if got, err := score(t, s, 1, 2); err != nil || got[0] != 3 {
		t.Errorf("%v, %v", got, err)
	}
	if after := processes(t); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("processes %v, then %v", before, after)
	}
	a = artifact(t, `"concurrency":1`, xy+"limits: {timeout: 1s, load_timeout: 10m}\n")
	log, logs := logger()
	s = open(t, backend(t, a, logs), a)
	late(s, -1002)
	testkit.Eventually(t, "the process is ended", func() bool { return strings.Contains(log.String(), "a call had not returned 1s after its deadline") })
	testkit.Eventually(t, "another serves", func() bool { _, err := score(t, s, 1, 2); return err == nil })
}

// TestMemory checks that a process that holds too much memory is ended for that
// reason.
func TestMemory(t *testing.T) {
	a := artifact(t, "", xy+"limits: {memory: 128MiB}\n")
	log, logs := logger()
	s := open(t, backend(t, a, logs), a)
	var down *backends.DownError
	if _, err := score(t, s, -1005, 0); !errors.As(err, &down) || !strings.Contains(down.Reason, "limits.memory is 128 MiB") {
		t.Errorf("%v", err)
	}
	if !strings.Contains(log.String(), "limits.memory is 128 MiB") {
		t.Error("the log does not say why")
	}
	if user, ok := s.(sdk.MemoryUser); !ok || user.MemoryBytes() < 0 {
		t.Error("it does not say what it holds")
	}
}

// TestAnswers checks that a response without one score per row is refused.
func TestAnswers(t *testing.T) {
	for fault, want := range map[string]string{
		"short-reply": "answered with 1 numbers for 2 rows, not with 2", "bad-rows": "row error 2 follows row error -1 of 2 rows", "huge-reply": "larger than max",
	} {
		a := artifact(t, `"fault":"`+fault+`"`, xy+"limits: {memory: 1GiB}\n")
		s := open(t, backend(t, a, nil), a)
		if _, err := score(t, s, 1, 2, 3, 4); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	a := artifact(t, `"fault":"greedy"`, xy)
	if n := open(t, backend(t, a, nil), a).Info().Concurrency; n != 256 {
		t.Errorf("it takes %d calls at once", n)
	}
}

// TestNaN checks that NaN and infinite scores arrive unchanged.
func TestNaN(t *testing.T) {
	a := artifact(t, `"fault":"nan"`, xy)
	s := open(t, backend(t, a, nil), a)
	if got, err := score(t, s, 1, 2); err != nil || !math.IsNaN(got[0]) {
		t.Errorf("%v, %v", got, err)
	}
}

// TestHelperRoles checks that the helper roles do nothing without a host.
func TestHelperRoles(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"__process-limits", "{}"}, {"__process-limits", "x"}, {"__process-keeper", "/tmp"}} {
		if out, err := exec.CommandContext(t.Context(), exe, args...).CombinedOutput(); err == nil {
			t.Errorf("%v: %s", args, out)
		}
	}
	if _, err := os.Stat("/tmp"); err != nil {
		t.Error("the keeper removed a directory that is not the host's")
	}
}
