package process

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// keeper is a process beside the host that ends the plugins' process groups when
// the host can no longer do so. The kernel's signal at a parent's death reaches
// the plugin itself only, not what that has started.
type keeper struct {
	exe, dir string

	mu     sync.Mutex
	cmd    *exec.Cmd
	in     io.WriteCloser
	ended  chan struct{} // is closed when cmd has been waited for
	groups map[int]bool
}

func newKeeper(exe, dir string) *keeper { return &keeper{exe: exe, dir: dir, groups: map[int]bool{}} }

// start starts the process. k is locked.
func (k *keeper) start() error {
	cmd := exec.Command(k.exe, KeeperRole, k.dir) //nolint:gosec,noctx // the host's binary, in a role that is a constant; it must outlive every context
	cmd.Env = []string{"GOTRACEBACK=none"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's signals are for the host
	in, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("starting the keeper: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the keeper: %w", err)
	}
	k.cmd, k.in, k.ended = cmd, in, make(chan struct{})
	go k.watch(cmd, k.ended)
	for pid := range k.groups {
		if _, err := fmt.Fprintf(in, "+%d\n", pid); err != nil {
			return fmt.Errorf("telling the keeper: %w", err)
		}
	}
	return nil
}

// watch waits for a keeper's end, and starts another where there is work for it; close
// waits for watch.
func (k *keeper) watch(cmd *exec.Cmd, ended chan struct{}) {
	defer close(ended)
	began := time.Now()
	_ = cmd.Wait() // what counts is that it is gone
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cmd != cmd {
		return
	}
	_ = k.in.Close()
	k.cmd = nil
	if len(k.groups) > 0 && time.Since(began) > firstBackoff { // one that ends at once is tried with the next group
		_ = k.start()
	}
}

// tell sends a line. k is locked.
func (k *keeper) tell(line string) error {
	if _, err := io.WriteString(k.in, line); err != nil { // it was killed just now
		k.cmd = nil
		_ = k.in.Close()
		return k.start()
	}
	return nil
}

// add makes the keeper know a process group.
func (k *keeper) add(pid int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.groups[pid] = true
	if k.cmd == nil {
		return k.start()
	}
	return k.tell(fmt.Sprintf("+%d\n", pid))
}

// remove forgets a process group, before its number can be another's.
func (k *keeper) remove(pid int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.groups, pid)
	if k.cmd == nil {
		return nil
	}
	return k.tell(fmt.Sprintf("-%d\n", pid))
}

// close ends the keeper; there are no groups any more.
func (k *keeper) close() error {
	k.mu.Lock()
	cmd := k.cmd
	k.cmd = nil
	k.mu.Unlock()
	if cmd == nil {
		return nil
	}
	patience := time.AfterFunc(endWait, func() { _ = cmd.Process.Kill() }) // it may have been stopped
	defer patience.Stop()
	_, err := io.WriteString(k.in, keeperDone+"\n")
	err = errors.Join(err, k.in.Close())
	<-k.ended
	if err != nil {
		return fmt.Errorf("ending the keeper: %w", err)
	}
	return nil
}
