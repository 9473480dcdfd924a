package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
)

// startFamily starts a process with a child and returns the child's id. Both end
// with the test.
func startFamily(t *testing.T) (cmd *exec.Cmd, child int) {
	t.Helper()
	cmd = exec.CommandContext(context.Background(), "/bin/sh", "-c", "sleep 600 & echo $!; wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		endDescendants(func(int) bool { return false })
		_ = cmd.Wait() // it was killed
	})
	if _, err := fmt.Fscan(out, &child); err != nil {
		t.Fatal(err)
	}
	return cmd, child
}

// TestTree checks that both ways of finding descendants find a child and its child,
// parents first, and that skipping a process skips what is below it.
func TestTree(t *testing.T) {
	cmd, _ := startFamily(t)
	for name, children := range map[string]func(int) ([]int, int){"by the kernel's list": childrenOf, "by parents": scanned()} {
		var all []int
		threads := walk(os.Getpid(), children, func(pid int) bool { all = append(all, pid); return true })
		at := slices.Index(all, cmd.Process.Pid)
		if at < 0 || len(all) != 2 || at != 0 || threads != 2 {
			t.Errorf("%s: %v below %d, which started %d; %d threads", name, all, os.Getpid(), cmd.Process.Pid, threads)
		}
		var top []int
		walk(os.Getpid(), children, func(pid int) bool { top = append(top, pid); return false })
		if !slices.Equal(top, []int{cmd.Process.Pid}) {
			t.Errorf("%s: %v at the top, not %d", name, top, cmd.Process.Pid)
		}
	}
}

// TestStrangersAreLeftAlone checks that a process gets no signal if its parent is
// not in the family, as when an id has passed to another process.
func TestStrangersAreLeftAlone(t *testing.T) {
	cmd, pid := startFamily(t)
	own := func(pid int) bool { return pid == os.Getpid() }
	if signalChild(pid, own, syscall.SIGSTOP) {
		t.Error("a child of another process got the signal")
	}
	if !signalChild(pid, func(pid int) bool { return pid == cmd.Process.Pid }, syscall.SIGSTOP) {
		t.Error("a child of the family got none")
	}
	for statOf(strconv.Itoa(pid)).state != 'T' {
		runtime.Gosched()
	}
	other := exec.CommandContext(t.Context(), "sleep", "600")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	ended := func() bool { // while signalIf checks it
		_ = errors.Join(other.Process.Kill(), other.Wait())
		return true
	}
	if signalIf(other.Process.Pid, ended, syscall.SIGCONT) {
		t.Error("the id of a process that has ended got the signal")
	}
}
