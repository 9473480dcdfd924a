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

// keeper is the host's side of a process that starts the supervisors. It is above
// them, so that nothing is left where one of them is killed, and it outlives the host,
// to clear up after it.
type keeper struct {
	exe, dir string

	mu    sync.Mutex
	cmd   *exec.Cmd // nil: none runs
	conn  *net.UnixConn
	ended chan struct{} // is closed when cmd has been waited for
	users int           // supervisors that are wanted
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
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's signals are for the host
	// What it starts gains no privileges either.
	if err := child.Start(cmd); err != nil {
		return fmt.Errorf("starting the keeper: %w", errors.Join(err, mine.Close(), theirs.Close()))
	}
	_ = theirs.Close() // it is the child's now
	k.cmd, k.conn, k.ended = cmd, mine, make(chan struct{})
	go k.watch(cmd, k.ended)
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
	k.drop()
	if k.users > 0 && time.Since(began) > firstBackoff { // one that ends at once is tried with the next supervisor
		_ = k.run()
	}
}

// drop gives a keeper up that is gone, or as good as. k is locked.
func (k *keeper) drop() {
	_ = k.conn.Close()
	k.cmd = nil
}

// start has a supervisor started, with its end of the connection to the host, the
// plugin's standard output and error and, where there is one, the program. Each start
// that succeeds is followed by a call of forget.
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
		_ = k.cmd.Process.Kill() // it was killed just now, or is stopped
		k.drop()
		if try > 0 {
			return fmt.Errorf("asking the keeper for a supervisor: %w", err)
		}
	}
}

// forget says that a supervisor is not wanted any more.
func (k *keeper) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.users--
}

// close ends the keeper; there are no supervisors any more.
func (k *keeper) close() error {
	k.mu.Lock()
	cmd, conn := k.cmd, k.conn
	k.cmd = nil
	k.mu.Unlock()
	if cmd == nil {
		return nil
	}
	patience := time.AfterFunc(endWait, func() { _ = cmd.Process.Kill() }) // it may have been stopped
	defer patience.Stop()
	_ = conn.SetWriteDeadline(time.Now().Add(endWait))
	_, err := conn.Write([]byte(keeperDone))
	<-k.ended
	if err = errors.Join(err, conn.Close()); err != nil {
		return fmt.Errorf("ending the keeper: %w", err)
	}
	return nil
}
