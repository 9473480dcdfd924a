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

// startFamily starts a process that has a child, whose number it returns. Both end with
// the test.
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

// TestTree: both ways of finding descendants find a child and its child, parents first,
// and what is left out is left out with what is below it.
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

// TestStrangersAreLeftAlone: a process gets no signal whose parent is nobody that is
// known, as where a number has become another's.
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
	ended := func() bool { // while it is being looked at
		_ = errors.Join(other.Process.Kill(), other.Wait())
		return true
	}
	if signalIf(other.Process.Pid, ended, syscall.SIGCONT) {
		t.Error("the number of a process that has ended got the signal")
	}
}
