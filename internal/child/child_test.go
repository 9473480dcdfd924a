package child_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/internal/child"
	"github.com/pynomaly/pynomaly-runtime/internal/host"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 {
		if role := roles[os.Args[1]]; role != nil {
			if err := role(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

const (
	most  = 64 << 20
	space = 256 << 20 // what "cramped" leaves its child
)

var roles = map[string]func() error{
	"echo": func() error { _, err := io.Copy(os.Stdout, os.Stdin); return err },
	"fail": func() error { return errors.New("the role's error") },
	"kill": func() error { return syscall.Kill(os.Getpid(), syscall.SIGKILL) },
	"trap": func() error { return syscall.Kill(os.Getpid(), syscall.SIGTERM) },
	"wait": func() error { time.Sleep(time.Hour); return nil },
	"limp": func() error { // as on a machine that is busy with something else
		for range 6 {
			for start := processorTime(); processorTime() < start+40*time.Millisecond; {
				runtime.KeepAlive(start)
			}
			time.Sleep(500 * time.Millisecond)
		}
		return nil
	},
	"spin": func() error {
		if _, err := child.LimitSelf(most, time.Second); err != nil {
			return err
		}
		for n := uint64(1); n != 0; n++ {
			runtime.KeepAlive(n)
		}
		return nil
	},
	"hog":    func() error { return hog(most) },
	"greedy": func() error { return hog(8 << 30) },
	// cramped runs greedy with less address space than greedy asks for, and reports
	// why it ended.
	"cramped": func() error {
		if err := narrow(space); err != nil {
			return err
		}
		_, err := child.Run(context.Background(), child.Job{Role: "greedy", Wall: time.Minute, CPU: time.Minute})
		var died *child.DiedError
		if !errors.As(err, &died) {
			return fmt.Errorf("greedy ended with %w", err)
		}
		fmt.Printf("%v %v", died.Cause == child.Cramped, died)
		return nil
	},
	"limits": func() error {
		if err := narrow(space); err != nil {
			return err
		}
		var before, after unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_AS, &before); err != nil {
			return err
		}
		cramped, err := child.LimitSelf(8<<30, time.Minute)
		if err != nil || !cramped {
			return fmt.Errorf("cramped is %v, %w", cramped, err)
		}
		if err := unix.Getrlimit(unix.RLIMIT_AS, &after); err != nil || before != after {
			return fmt.Errorf("the limit went from %v to %v, %w", before, after, err)
		}
		return nil
	},
	// full starts a child without a free descriptor for its pipes.
	"full": func() error {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 8, Max: 8}); err != nil {
			return err
		}
		for {
			if _, err := os.Open("/dev/null"); err != nil {
				break
			}
		}
		_, err := child.Run(context.Background(), child.Job{Role: "echo", Wall: time.Minute})
		var died *child.DiedError
		if !errors.As(err, &died) || died.Cause != child.NotBegun || !errors.Is(err, syscall.EMFILE) {
			return fmt.Errorf("without descriptors: %w", err)
		}
		return nil
	},
	"attempt":       attempt,
	"stay":          stay,
	"contained":     contained,
	"descriptors":   descriptors,
	"confined echo": confinedEcho,
	"score": func() error { // the parent sets it once this process runs
		var data []byte
		var err error
		for range 600 {
			if data, err = os.ReadFile("/proc/self/oom_score_adj"); err != nil || strings.TrimSpace(string(data)) == "1000" {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		fmt.Print(strings.TrimSpace(string(data)))
		return err
	},
}

// hog allocates memory, which it may use up to a limit, until an allocation fails.
func hog(memory int64) error {
	if _, err := child.LimitSelf(memory, time.Minute); err != nil {
		return err
	}
	var all [][]byte
	for len(all) < 1<<20 {
		all = append(all, make([]byte, 1<<20))
	}
	return fmt.Errorf("it got %d MiB", len(all))
}

// narrow leaves this process and its children little more address space than it has.
func narrow(more int64) error {
	size, err := host.VirtualBytes()
	if err != nil {
		return err
	}
	limit := uint64(size + more)
	return unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: limit, Max: limit})
}

func TestCauses(t *testing.T) {
	for _, c := range []struct {
		role string
		job  child.Job
		want child.Cause
		text string
	}{
		{"fail", child.Job{Wall: time.Hour}, child.Failed, "the role's error"},
		{"spin", child.Job{Wall: time.Hour, CPU: time.Second}, child.Busy, ""},
		{"hog", child.Job{Wall: time.Hour, CPU: time.Minute}, child.Large, ""},
		{"trap", child.Job{Wall: time.Hour}, child.Crashed, "terminated"},
		{"wait", child.Job{Wall: time.Second}, child.Starved, "the machine is busy"},
		{"kill", child.Job{Wall: time.Hour, CPU: time.Minute}, child.Killed, "killed"},
		{"fail", child.Job{Wall: time.Hour, CPU: time.Minute}, child.NotBegun, "the role's error"}, // before it has set its limits
		{"echo", child.Job{Wall: time.Hour, Exe: "/none"}, child.NotBegun, "/none"},
	} {
		t.Run(c.role, func(t *testing.T) {
			c.job.Role = c.role
			_, err := child.Run(t.Context(), c.job)
			var died *child.DiedError
			if !errors.As(err, &died) || died.Cause != c.want || !strings.Contains(died.Error(), c.text) {
				t.Fatalf("%v, %+v", err, died)
			}
			if got, want := died.Cause.Surroundings(), c.want >= child.Starved; got != want {
				t.Errorf("surroundings: %v", got)
			}
		})
	}
}

// processorTime returns the processor time that this process has used.
func processorTime() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// TestBusyMachine checks that a process that gets little processor time has more
// elapsed time.
func TestBusyMachine(t *testing.T) {
	if _, err := child.Run(t.Context(), child.Job{Role: "limp", Wall: 2 * time.Second}); err != nil {
		t.Error(err)
	}
}

func run(t *testing.T, job child.Job) string {
	t.Helper()
	job.Wall = time.Hour
	out, err := child.Run(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestInheritedLimits checks that a limit that the host inherited stays, and that a
// job is not to blame if that limit is too low for it.
func TestInheritedLimits(t *testing.T) {
	run(t, child.Job{Role: "limits"})
	run(t, child.Job{Role: "full"})
	if out := run(t, child.Job{Role: "cramped"}); !strings.HasPrefix(out, "true") {
		t.Error(out)
	}
}

func TestChildrenAreKilledFirst(t *testing.T) {
	if got := run(t, child.Job{Role: "score"}); got != "1000" {
		t.Errorf("oom_score_adj is %s", got)
	}
}

// TestLimiter checks the limits on processes and memory and the order of turns. A
// job that is too large runs alone, and a wait can be cancelled.
func TestLimiter(t *testing.T) {
	l := child.NewLimiter(3, 100)
	var running, memory, mostRunning, mostMemory atomic.Int64
	var wg sync.WaitGroup
	for i := range 60 {
		need := int64(i%5) * 40 // 0 to 160
		wg.Go(func() {
			release, err := l.Acquire(t.Context(), need)
			if err != nil {
				t.Error(err)
				return
			}
			defer release()
			n, m := running.Add(1), memory.Add(min(need, 100))
			for _, c := range []struct {
				most *atomic.Int64
				now  int64
			}{{&mostRunning, n}, {&mostMemory, m}} {
				for old := c.most.Load(); c.now > old && !c.most.CompareAndSwap(old, c.now); old = c.most.Load() {
				}
			}
			memory.Add(-min(need, 100))
			running.Add(-1)
		})
	}
	wg.Wait()
	if mostRunning.Load() > 3 || mostMemory.Load() > 100 {
		t.Errorf("%d ran at once, with %d bytes", mostRunning.Load(), mostMemory.Load())
	}
	release, err := l.Acquire(t.Context(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Acquire(ended, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled wait: %v", err)
	}
	release()
	for range 3 { // the cancelled wait has returned what it took
		if release, err = l.Acquire(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		defer release()
	}
	var none *child.Limiter
	if release, err = none.Acquire(ended, 1); err != nil {
		t.Error(err)
	}
	release()
}

// TestWaitingCostsNoTime checks that the time of a job does not begin before its
// turn.
func TestWaitingCostsNoTime(t *testing.T) {
	l := child.NewLimiter(1, 0)
	release, err := l.Acquire(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	const wall = time.Millisecond
	go func() {
		_, err := child.Run(ctx, child.Job{Role: "wait", Wall: wall, Limiter: l})
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("it ended before its turn: %v", err)
	case <-time.After(50 * wall): // the job's time must not have begun, however slow the machine is
	}
	release()
	var died *child.DiedError
	if err := <-done; !errors.As(err, &died) {
		t.Error(err)
	}
}

// TestKeys checks that callers with the same key take turns and that others do not
// wait.
func TestKeys(t *testing.T) {
	var keys child.Keys
	counts := map[string]*int{"a": new(int), "b": new(int)} // the race detector watches them
	var wg sync.WaitGroup
	for range 50 {
		for name, n := range counts {
			wg.Go(func() {
				unlock, err := keys.Lock(t.Context(), name)
				if err != nil {
					t.Error(err)
					return
				}
				defer unlock()
				*n++
			})
		}
	}
	wg.Wait()
	if *counts["a"] != 50 || *counts["b"] != 50 {
		t.Error(*counts["a"], *counts["b"])
	}
	unlock, err := keys.Lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := keys.Lock(ended, "a"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	unlock()
	if unlock, err = keys.Lock(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	unlock()
}
