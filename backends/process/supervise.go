//go:build linux

package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// supervisor is the state of the process that supervises one process of a plugin. It
// starts the plugin under limits and ends it with all its descendants. The kernel
// makes it the parent of orphaned descendants, whatever their session and group. So
// if it has no child, nothing is left.
type supervisor struct {
	host    *net.UnixConn
	spec    spec
	pid     int           // of the plugin
	bounded bool          // the kernel limits the number of its processes
	over    chan struct{} // closed when no descendant is left
	ending  sync.Once

	mu sync.Mutex // one report at a time
}

// The file descriptors of a supervisor beyond the standard ones.
const (
	controlFD = 3
	binaryFD  = 4
)

// supervise runs the supervisor until the plugin has ended.
func supervise(control *os.File) error {
	// prctl's settings, and the signal at a parent's death, belong to a thread.
	runtime.LockOSThread()
	unix.CloseOnExec(binaryFD)
	outliveSignals()
	host, err := asConn(control)
	if err != nil {
		return err
	}
	defer host.Close()
	s := &supervisor{host: host, over: make(chan struct{})}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("becoming the parent of orphans: %w", err)
	}
	s.tell(report{Self: os.Getpid()})
	if err := json.NewDecoder(io.LimitReader(host, maxSpec)).Decode(&s.spec); err != nil {
		return fmt.Errorf("reading what to start: %w", err) // for example because the host is gone
	}
	if s.pid, s.bounded, err = s.spec.start(); err != nil {
		s.tell(report{Cause: err.Error()})
		return nil
	}
	s.tell(report{PID: s.pid})
	go s.watch()
	go func() {
		_, _ = io.Copy(io.Discard, host) // nothing comes; it returns when the host closes it or is gone
		s.end("")
	}()
	s.reap()
	close(s.over)
	s.tellOver()
	return nil
}

// maxSpec limits what is read. A process's environment has at most 2 MiB.
const maxSpec = 16 << 20

// outliveSignals catches the signals that a terminal or a service manager sends to
// all processes, because this process must end after the host. It does not ignore
// them: a started program would inherit that.
func outliveSignals() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
}

// tell sends a report. It ignores errors: a host that does not read is gone.
func (s *supervisor) tell(r report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.host.SetWriteDeadline(time.Now().Add(tellTime))
	_ = r.send(s.host)
}

// tellOver says that no descendant is left, or that waiting is pointless.
func (s *supervisor) tellOver() { s.tell(report{Over: true}) }

const tellTime = 5 * time.Second

// reap waits for all children of this process, orphaned descendants included.
func (s *supervisor) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, unix.WALL, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil: // there are none
			return
		case pid == s.pid:
			s.tell(report{Cause: "it ended by itself: " + describe(status)})
			s.end("")
		}
	}
}

func describe(s syscall.WaitStatus) string {
	if s.Signaled() {
		return "signal: " + s.Signal().String()
	}
	return "exit status " + strconv.Itoa(s.ExitStatus())
}

// end starts to end the remaining processes. It reports cause unless that is empty.
// If a process cannot be killed, for example while in a driver, end tells the host
// not to wait.
func (s *supervisor) end(cause string) {
	s.ending.Do(func() {
		if cause != "" {
			s.tell(report{Cause: cause, Bound: true})
		}
		go s.endAll()
		time.AfterFunc(hopeless, s.tellOver)
	})
}

// endAll kills the descendants repeatedly until there is none: one pass may miss
// some.
func (s *supervisor) endAll() {
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		endDescendants(func(int) bool { return false })
		select {
		case <-s.over:
			return
		case <-time.After(pause):
		}
	}
}

const (
	firstPause = 2 * time.Millisecond
	mostPause  = 50 * time.Millisecond
	hopeless   = 10 * time.Second
)

// The intervals of the checks.
const (
	lookEvery    = 100 * time.Millisecond
	countEvery   = 5  // checks, if the kernel limits the number of processes
	familyEvery  = 10 // checks, for the memory of descendants
	stoppedLooks = 3
)

// watch checks the plugin's resources until it has ended.
func (s *supervisor) watch() {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	stopped := 0
	var others, told int64
	for n := 0; ; n++ {
		if n%familyEvery == 0 || n%countEvery == 0 || !s.bounded {
			family := s.countProcesses()
			if n%familyEvery == 0 {
				others = 0
				for _, pid := range family {
					others += resident(pid)
				}
			}
		}
		memory := resident(s.pid) + others
		if most := s.spec.Memory; memory > most {
			s.end(fmt.Sprintf("it was ended: it held %d MiB of memory; limits.memory is %d MiB; raise it in model.yaml (the host's limits.max.memory bounds it)", memory>>20, most>>20))
		}
		if memory > 0 && told>>20 != memory>>20 { // 0: it is ending
			s.tell(report{Memory: memory})
			told = memory
		}
		stopped++
		if statOf(strconv.Itoa(s.pid)).state != 'T' {
			stopped = 0
		}
		if stopped >= stoppedLooks {
			s.end("it was ended: it was stopped, by SIGSTOP or the like")
		}
		select {
		case <-t.C:
		case <-s.over:
			return
		}
	}
}

// countProcesses ends a plugin with too many processes, and returns the descendants
// of the plugin's first process.
func (s *supervisor) countProcesses() (others []int) {
	threads := descendants(os.Getpid(), func(pid int) bool {
		if pid != s.pid {
			others = append(others, pid)
		}
		return true
	})
	if most := s.spec.Processes; threads > int(most) {
		s.end(fmt.Sprintf("it was ended: it had more than %d processes, threads among them; libraries start fewer with OMP_NUM_THREADS=1 in backends.process.env", most))
	}
	return others
}
