//go:build linux

package process

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/internal/child"
)

// keeper is the host's side of the keeper process. That process is the parent of the
// supervisors: it ends what a killed supervisor leaves. It outlives the host, to
// clean up after it.
type keeper struct {
	exe, dir string

	mu    sync.Mutex
	cmd   *exec.Cmd // nil: not running
	conn  *net.UnixConn
	ended chan struct{} // closed when cmd has been waited for
	users int           // number of supervisors in use
}

func newKeeper(exe, dir string) *keeper { return &keeper{exe: exe, dir: dir} }

// run starts the process. k is locked.
func (k *keeper) run() error {
	mine, theirs, err := socketPair(unix.SOCK_SEQPACKET)
	if err != nil {
		return fmt.Errorf("starting the keeper: %w", err)
	}
	cmd := exec.Command(k.exe, KeeperRole, k.dir) //nolint:gosec,noctx // the host's binary, in a role that is a constant; it must outlive every context
	cmd.Env = []string{"GOTRACEBACK=none"}
	cmd.Stdin = theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's signals are for the host only
	// Its children cannot gain privileges either.
	if err := child.Start(cmd); err != nil {
		return fmt.Errorf("starting the keeper: %w", errors.Join(err, mine.Close(), theirs.Close()))
	}
	_ = theirs.Close() // the child has it now
	k.cmd, k.conn, k.ended = cmd, mine, make(chan struct{})
	go k.watch(cmd, k.ended)
	return nil
}

// watch waits for the keeper's end and starts another one if supervisors are in use.
// close waits for watch.
func (k *keeper) watch(cmd *exec.Cmd, ended chan struct{}) {
	defer close(ended)
	began := time.Now()
	_ = cmd.Wait() // only the end matters
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cmd != cmd {
		return
	}
	k.drop()
	if k.users > 0 && time.Since(began) > firstBackoff { // if it ended at once, the next supervisor starts it again
		_ = k.run()
	}
}

// drop forgets a keeper that is gone or does not respond. k is locked.
func (k *keeper) drop() {
	_ = k.conn.Close()
	k.cmd = nil
}

// start makes the keeper start a supervisor. The files are the supervisor's end of
// the connection to the host, the plugin's standard output and standard error and,
// optionally, the program. Call forget after each start that succeeded.
func (k *keeper) start(name string, files ...*os.File) error {
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	packet := []byte(keeperStart + name[:min(len(name), maxName)])
	k.mu.Lock()
	defer k.mu.Unlock()
	for try := 0; ; try++ {
		if k.cmd == nil {
			if err := k.run(); err != nil {
				return err
			}
		}
		_ = k.conn.SetWriteDeadline(time.Now().Add(tellTime))
		_, _, err := k.conn.WriteMsgUnix(packet, unix.UnixRights(fds...), nil)
		if err == nil {
			k.users++
			return nil
		}
		_ = k.cmd.Process.Kill() // it was just killed, or is stopped
		k.drop()
		if try > 0 {
			return fmt.Errorf("asking the keeper for a supervisor: %w", err)
		}
	}
}

// forget says that a supervisor is no longer in use.
func (k *keeper) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.users--
}

// close ends the keeper. No supervisor may be in use.
func (k *keeper) close() error {
	k.mu.Lock()
	cmd, conn := k.cmd, k.conn
	k.cmd = nil
	k.mu.Unlock()
	if cmd == nil {
		return nil
	}
	patience := time.AfterFunc(endWait, func() { _ = cmd.Process.Kill() }) // it may be stopped
	defer patience.Stop()
	_ = conn.SetWriteDeadline(time.Now().Add(endWait))
	_, err := conn.Write([]byte(keeperDone))
	<-k.ended
	if err = errors.Join(err, conn.Close()); err != nil {
		return fmt.Errorf("ending the keeper: %w", err)
	}
	return nil
}
