//go:build linux

package process

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// keeping is the keeper's state. The keeper starts supervisors for the host. If a
// supervisor is killed, the keeper ends the processes that it leaves. When the host
// is gone, the keeper makes all supervisors end and removes the host's private
// directory.
type keeping struct {
	mu          sync.Mutex // held also while a supervisor starts, until it is recorded
	supervisors map[int]bool
	doomed      map[int]bool // were sent SIGKILL
	childless   bool         // false: there may be children
	changed     *sync.Cond
}

// keep runs the keeper until the host is gone or says that it is done.
func keep(host *net.UnixConn, dir string) error {
	defer host.Close()
	if !strings.HasPrefix(filepath.Base(dir), dirPrefix) {
		return fmt.Errorf("%s is not a private directory", dir)
	}
	outliveSignals()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("becoming the parent of orphans: %w", err)
	}
	k := &keeping{supervisors: map[int]bool{}, childless: true}
	k.changed = sync.NewCond(&k.mu)
	go k.reap()
	done, err := k.serve(host)
	if done || err != nil {
		return err
	}
	k.finish()
	endGroupsOf(dir)
	endStrays(dir)
	for range 20 { // the last processes may still be writing
		if err = removeAll(dir); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

// serve starts supervisors. done says that the host sent keeperDone before it left.
func (k *keeping) serve(host *net.UnixConn) (done bool, err error) {
	const most = 4 // file descriptors
	packet, oob := make([]byte, len(keeperStart)+maxName+1), make([]byte, unix.CmsgSpace(4*most))
	for {
		n, space, _, _, gone := host.ReadMsgUnix(packet, oob)
		if gone != nil || n == 0 {
			return false, nil //nolint:nilerr // the host's end is not a failure of this process
		}
		files := received(oob[:space])
		name, done, err := parseRequest(packet[:n], len(files))
		if err == nil && !done {
			k.start(name, files)
		}
		for _, f := range files {
			_ = f.Close() // the supervisor has them now
		}
		if done || err != nil {
			return done, err
		}
	}
}

// received returns the file descriptors that came with a packet.
func received(oob []byte) (files []*os.File) {
	messages, _ := unix.ParseSocketControlMessage(oob)
	for i := range messages {
		fds, _ := unix.ParseUnixRights(&messages[i])
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "handed over"))
		}
	}
	return files
}

// start starts a supervisor. Its files are the connection to the host, the plugin's
// standard output and standard error and, optionally, the program.
func (k *keeping) start(name string, files []*os.File) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		_ = report{Cause: "starting a supervisor: " + err.Error()}.send(files[0])
		return
	}
	defer null.Close()
	attr := &syscall.ProcAttr{
		Env: []string{"GOTRACEBACK=none"}, Sys: &syscall.SysProcAttr{Setpgid: true},
		Files: []uintptr{null.Fd(), files[1].Fd(), files[2].Fd(), files[0].Fd()},
	}
	if len(files) > 3 {
		attr.Files = append(attr.Files, files[3].Fd())
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"/proc/self/exe", LimitsRole, name}, attr) //nolint:gosec // this binary, in a role that is a constant
	if err != nil {
		_ = report{Cause: "starting a supervisor: " + err.Error()}.send(files[0]) // if the host is gone, nobody reads it
		return
	}
	k.supervisors[pid], k.childless = true, false
	k.changed.Broadcast()
}

// reap waits for supervisors. If one was killed, the processes that it leaves become
// children of this process, and reap ends them.
func (k *keeping) reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, unix.WALL, nil)
		k.mu.Lock()
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil && len(k.supervisors) == 0: // there are no children
			k.childless = true
			k.changed.Broadcast()
			for k.childless {
				k.changed.Wait()
			}
		case err == nil:
			delete(k.supervisors, pid)
			delete(k.doomed, pid)
			k.endOrphans()
			k.changed.Broadcast()
		}
		k.mu.Unlock()
	}
}

// endOrphans ends children of this process that are not supervisors, and their
// descendants. They became children before their supervisor could be waited for. k
// is locked, so that all supervisors are recorded.
func (k *keeping) endOrphans() {
	children, _ := lister()(os.Getpid())
	for _, pid := range children {
		if !k.supervisors[pid] && !k.doomed[pid] {
			k.doomed = endDescendants(func(pid int) bool { return k.supervisors[pid] })
			return
		}
	}
}

// finish waits until no supervisor and no orphan is left. Supervisors notice by
// themselves that the host is gone; finish kills one that does not.
func (k *keeping) finish() {
	if k.wait(finishTime) {
		return
	}
	k.mu.Lock()
	for pid := range k.supervisors {
		_ = syscall.Kill(pid, syscall.SIGKILL) // a child that was not waited for, so its id is still its own
	}
	k.mu.Unlock()
	k.wait(finishTime) // processes that cannot be killed are left
}

const finishTime = 15 * time.Second

// wait waits up to d and reports whether no child is left.
func (k *keeping) wait(d time.Duration) bool {
	late := false
	t := time.AfterFunc(d, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		late = true
		k.changed.Broadcast()
	})
	defer t.Stop()
	k.mu.Lock()
	defer k.mu.Unlock()
	for !k.childless && !late {
		k.changed.Wait()
	}
	return k.childless
}
