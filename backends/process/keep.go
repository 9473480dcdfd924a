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

// keeping is what the keeper does: it starts supervisors for the host, and ends what
// one of them has left that was killed. When the host is gone, however it went, it
// sees to it that all supervisors end, and removes the host's private directory.
type keeping struct {
	mu          sync.Mutex // also held while a supervisor is started, until it is known
	supervisors map[int]bool
	doomed      map[int]bool // have been killed
	childless   bool         // false: there may be a child
	changed     *sync.Cond
}

// keep does all of it, until the host is gone or says that it is done.
func keep(host *net.UnixConn, dir string) error {
	defer host.Close()
	if !strings.HasPrefix(filepath.Base(dir), dirPrefix) {
		return fmt.Errorf("%s is no private directory", dir)
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
	for range 20 { // the last of them may be writing yet
		if err = removeAll(dir); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

// serve starts supervisors; done: the host said so, and is not just gone.
func (k *keeping) serve(host *net.UnixConn) (done bool, err error) {
	const most = 4 // descriptors
	packet, oob := make([]byte, len(keeperStart)+maxName+1), make([]byte, unix.CmsgSpace(4*most))
	for {
		n, space, _, _, gone := host.ReadMsgUnix(packet, oob)
		if gone != nil || n == 0 {
			return false, nil //nolint:nilerr // the host's end is no failure of this process
		}
		files := received(oob[:space])
		name, done, err := parseRequest(packet[:n], len(files))
		if err == nil && !done {
			k.start(name, files)
		}
		for _, f := range files {
			_ = f.Close() // they are the supervisor's
		}
		if done || err != nil {
			return done, err
		}
	}
}

// received are the descriptors that came with a packet.
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

// start starts a supervisor with its connection to the host, the plugin's standard
// output and error, and the program where there is a fourth file.
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
		_ = report{Cause: "starting a supervisor: " + err.Error()}.send(files[0]) // a host that is gone need not know
		return
	}
	k.supervisors[pid], k.childless = true, false
	k.changed.Broadcast()
}

// reap waits for supervisors, and for what one of them leaves that was killed: such a
// process is this one's child then, and is ended.
func (k *keeping) reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, unix.WALL, nil)
		k.mu.Lock()
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil && len(k.supervisors) == 0: // there is no child
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

// endOrphans ends children of this process that are no supervisors, with what is below
// them. They became its children before the one that left them could be waited for. k
// is locked, so that every supervisor is known.
func (k *keeping) endOrphans() {
	children, _ := lister()(os.Getpid())
	for _, pid := range children {
		if !k.supervisors[pid] && !k.doomed[pid] {
			k.doomed = endDescendants(func(pid int) bool { return k.supervisors[pid] })
			return
		}
	}
}

// finish waits until there is no supervisor, and nothing that one has left. They
// notice by themselves that the host is gone; one that does not is killed.
func (k *keeping) finish() {
	if k.wait(finishTime) {
		return
	}
	k.mu.Lock()
	for pid := range k.supervisors {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it is this process's child, and not waited for yet
	}
	k.mu.Unlock()
	k.wait(finishTime) // what cannot be ended is left
}

const finishTime = 15 * time.Second

// wait reports whether there is no child, after d at the latest.
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
