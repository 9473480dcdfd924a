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

	"github.com/pynomaly/pynomaly-runtime/sdk/process"
)

// supervisor is what the process beside each process of a plugin does: it starts the
// plugin under limits, and ends it with everything that it has started. The kernel
// gives it the descendants whose own parents have ended, whatever sessions and groups
// they have made for themselves, so that no child left means that nothing is left.
type supervisor struct {
	host   *net.UnixConn
	spec   spec
	pid    int           // of the plugin
	over   chan struct{} // closed when nothing is left
	ending sync.Once

	mu     sync.Mutex // guards what follows, and the order of reports
	report report     // the last one
}

// The file descriptors that a supervisor is handed beside the standard ones.
const (
	controlFD = 3
	binaryFD  = 4
)

// supervise does all of it. The plugin's end is its own.
func supervise(control *os.File) error {
	// What prctl sets is the thread's, as is being the parent for the signal at a
	// parent's death.
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
		return fmt.Errorf("reading what to start: %w", err) // such as when the host is gone
	}
	if s.pid, err = s.spec.start(); err != nil {
		s.tell(report{Failed: err.Error()})
		return nil
	}
	s.tell(report{PID: s.pid})
	go s.watch()
	go func() {
		_, _ = io.Copy(io.Discard, host) // nothing comes: it ends when the host closes it, or is gone
		s.end("")
	}()
	s.reap()
	close(s.over)
	s.tellOver()
	return nil
}

// maxSpec bounds what is read. The environment of a process has at most 2 MiB.
const maxSpec = 16 << 20

// outliveSignals keeps the signals that a terminal or a service manager sends to all
// processes at once from ending this one, which ends after the host. Unlike ignored
// signals, those that are caught are as usual in a program that is started.
func outliveSignals() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
}

// tell sends a report. A host that does not read is gone, or does not care.
func (s *supervisor) tell(r report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.host.SetWriteDeadline(time.Now().Add(tellTime))
	_ = r.send(s.host)
}

// tellOver says that nothing is left, or will be in a moment, and what is known of the end.
func (s *supervisor) tellOver() {
	s.mu.Lock()
	r := s.report
	s.mu.Unlock()
	r.Over = true
	s.tell(r)
}

const tellTime = 5 * time.Second

// reap waits for all descendants of this process, those that it is given among them.
func (s *supervisor) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, unix.WALL, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil: // there are none
			return
		case pid == s.pid:
			s.mu.Lock()
			s.report.Ended = describe(status)
			s.mu.Unlock()
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

// end begins to end what is left, because of cause; empty: that is somebody else's to
// say. Where a process cannot be ended, such as in a driver, the host is told so that
// it need not wait.
func (s *supervisor) end(cause string) {
	s.ending.Do(func() {
		s.mu.Lock()
		s.report.Cause = cause
		s.mu.Unlock()
		go s.endAll()
		time.AfterFunc(hopeless, s.tellOver)
	})
}

// endAll ends the descendants, again and again until there is none: what was missed
// is found by another try.
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

// Limits of a plugin's process and its descendants together.
const (
	lookEvery    = 50 * time.Millisecond
	memoryEvery  = 2  // looks; of the plugin's own process
	familyEvery  = 20 // looks; of its descendants
	stoppedLooks = 6
	maxProcesses = 512 // threads among them
)

// watch looks at what the plugin takes, until it is over.
func (s *supervisor) watch() {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	stopped := 0
	var others, told int64
	for n := 0; ; n++ {
		var family []int
		threads := descendants(os.Getpid(), func(pid int) bool {
			family = append(family, pid)
			return true
		})
		if threads > maxProcesses {
			s.end(fmt.Sprintf("it was ended: it had more than %d processes, threads among them", maxProcesses))
		}
		if n%familyEvery == 0 {
			others = 0
			for _, pid := range family {
				if pid != s.pid {
					others += resident(pid)
				}
			}
		}
		if n%memoryEvery == 0 {
			memory := resident(s.pid) + others
			if most := s.spec.Memory; memory > most {
				s.end(fmt.Sprintf("it was ended: it held %d MiB of memory; limits.memory is %d MiB", memory>>20, most>>20))
			}
			if told>>20 != memory>>20 {
				s.tell(report{Memory: memory})
				told = memory
			}
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

// maxFiles is how many files a plugin may have open.
const maxFiles = 1024

// start sets the limits of this process, which its children inherit, and starts the
// plugin. It must be called on a thread that outlives that.
func (s *spec) start() (int, error) {
	if err := s.limit(); err != nil {
		return 0, err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("giving privileges up: %w", err)
	}
	unix.Umask(0o077)
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, fmt.Errorf("starting the plugin: %w", err)
	}
	defer null.Close()
	path := s.Path
	if path == "" {
		path = "/proc/self/fd/" + strconv.Itoa(binaryFD)
	}
	attr := &syscall.ProcAttr{
		Dir: s.Dir, Env: append(s.Env, process.ParentEnv+"="+strconv.Itoa(os.Getpid())), Files: []uintptr{null.Fd(), 1, 2},
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	user := os.Geteuid()
	if s.UID >= 0 {
		user = s.UID
		groups := make([]uint32, len(s.Groups))
		for i, g := range s.Groups {
			groups[i] = uint32(g)
		}
		attr.Sys.Credential = &syscall.Credential{Uid: uint32(s.UID), Gid: uint32(s.GID), Groups: groups}
	}
	pid, err := forkExec(path, s.Args, attr)
	// The user may have too many processes; some of them are about to be ended for that.
	for n := 0; errors.Is(err, syscall.EAGAIN) && n < 60; n++ {
		time.Sleep(50 * time.Millisecond)
		pid, err = forkExec(path, s.Args, attr)
	}
	if err != nil {
		return 0, fmt.Errorf("running %s as user %d: %w", s.Args[0], user, err)
	}
	// The plugin's end of its output is its own.
	if err := errors.Join(unix.Dup2(int(null.Fd()), 1), unix.Dup2(int(null.Fd()), 2)); err != nil {
		return 0, fmt.Errorf("closing the plugin's output: %w", err)
	}
	return pid, nil
}

// forkExec starts a program that may use three quarters of what its user may have of
// processes: the limit is on all processes of the user, and a plugin that starts as
// many as it can must not keep the host from starting a thread before it is ended.
func forkExec(path string, args []string, attr *syscall.ProcAttr) (int, error) {
	var have unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &have); err != nil || have.Cur == unix.RLIM_INFINITY {
		return syscall.ForkExec(path, args, attr)
	}
	less := unix.Rlimit{Cur: have.Cur / 4 * 3, Max: have.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NPROC, &less); err != nil {
		return 0, err
	}
	pid, err := syscall.ForkExec(path, args, attr)
	_ = unix.Setrlimit(unix.RLIMIT_NPROC, &have) // it was so a moment ago
	return pid, err
}

// limit lowers limits of this process. What it was started with may be lower already.
func (s *spec) limit() error {
	limits := map[int]uint64{unix.RLIMIT_CORE: 0, unix.RLIMIT_NOFILE: maxFiles}
	if s.AddressSpace > 0 {
		limits[unix.RLIMIT_AS] = s.AddressSpace
	}
	for which, most := range limits {
		var have unix.Rlimit
		if err := unix.Getrlimit(which, &have); err != nil {
			return fmt.Errorf("reading a limit: %w", err)
		}
		have.Cur, have.Max = min(have.Cur, most), min(have.Max, most)
		if err := unix.Setrlimit(which, &have); err != nil {
			return fmt.Errorf("setting a limit: %w", err)
		}
	}
	return nil
}
