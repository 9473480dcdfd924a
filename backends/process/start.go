//go:build linux

package process

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/sdk/process"
)

// maxFiles is how many files a plugin may have open.
const maxFiles = 1024

// start sets the limits of this process, which its children inherit, and starts the
// plugin; bounded: the kernel keeps it from having many more processes than it may. It
// must be called on a thread that outlives the plugin.
func (s *spec) start() (pid int, bounded bool, err error) {
	if err := s.limit(); err != nil {
		return 0, false, err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 0, false, fmt.Errorf("giving privileges up: %w", err)
	}
	unix.Umask(0o077)
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, false, fmt.Errorf("starting the plugin: %w", err)
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
	pid, bounded, err = s.forkExec(path, attr)
	// The user may have too many processes; some of them are about to be ended for that.
	for n := 0; errors.Is(err, syscall.EAGAIN) && n < 60; n++ {
		time.Sleep(50 * time.Millisecond)
		pid, bounded, err = s.forkExec(path, attr)
	}
	if err != nil {
		return 0, false, fmt.Errorf("running %s as user %d: %w", s.Args[0], user, err)
	}
	// The plugin's end of its output is its own.
	if err := errors.Join(unix.Dup2(int(null.Fd()), 1), unix.Dup2(int(null.Fd()), 2)); err != nil {
		return 0, false, fmt.Errorf("closing the plugin's output: %w", err)
	}
	return pid, bounded, nil
}

// limit lowers limits of this process, which those that it starts inherit.
func (s *spec) limit() error {
	for which, most := range map[int]uint64{unix.RLIMIT_CORE: 0, unix.RLIMIT_NOFILE: maxFiles} {
		var have unix.Rlimit
		err := unix.Getrlimit(which, &have)
		if err == nil { // it may be lower already
			err = unix.Setrlimit(which, &unix.Rlimit{Cur: min(have.Cur, most), Max: min(have.Max, most)})
		}
		if err != nil {
			return fmt.Errorf("setting a limit: %w", err)
		}
	}
	return nil
}

// whileLower makes a call with a soft limit of this process that is lower, and keeps
// what it had for itself.
func whileLower(which int, lower func(have uint64) uint64, call func() error) error {
	var have unix.Rlimit
	err := unix.Getrlimit(which, &have)
	if err == nil {
		err = unix.Setrlimit(which, &unix.Rlimit{Cur: min(have.Cur, lower(have.Cur)), Max: have.Max})
	}
	if err != nil {
		return fmt.Errorf("setting a limit: %w", err)
	}
	defer func() { _ = unix.Setrlimit(which, &have) }() // it was so a moment ago
	return call()
}

// forkExec starts the program in a user namespace of its own, where it may be: there
// the kernel counts its processes apart from those of its user, so that a limit keeps
// it from starting more than can be ended, and takes nothing from others. All users
// and groups that it has are the same inside.
//
// Elsewhere the limit is on all processes of the user together, and is three quarters
// of what it was, so that there is some left for the host.
func (s *spec) forkExec(path string, attr *syscall.ProcAttr) (pid int, bounded bool, err error) {
	space := func(have uint64) uint64 { return have }
	if s.AddressSpace > 0 {
		space = func(uint64) uint64 { return s.AddressSpace }
	}
	processes := func(have uint64) uint64 {
		if have == unix.RLIM_INFINITY {
			return have
		}
		return have / 4 * 3
	}
	err = whileLower(unix.RLIMIT_AS, space, func() error {
		return whileLower(unix.RLIMIT_NPROC, processes, func() error {
			if apart := separated(attr); apart != nil {
				if pid, err = syscall.ForkExec(path, s.Args, apart); err == nil { //nolint:gosec // what the operator has allowed
					// Set before, it would be the limit on all of the user's. Where it may
					// not be set, the other one holds.
					more := s.Processes + s.Processes/8 // so that having too many can be seen
					bounded = unix.Prlimit(pid, unix.RLIMIT_NPROC, &unix.Rlimit{Cur: more, Max: more}, nil) == nil
					return nil
				}
			}
			pid, err = syscall.ForkExec(path, s.Args, attr) //nolint:gosec // the same
			return err
		})
	})
	return pid, bounded, err
}

// processLimit is how many processes a plugin may have, threads among them: a quarter of
// what its user may have, if that is less.
func processLimit() uint64 {
	const most = 512
	var have unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &have); err != nil {
		return most
	}
	return min(most, have.Cur/4)
}

// separated adds a user namespace to attr; nil: it would not help, or would take the
// rights of root away.
func separated(attr *syscall.ProcAttr) *syscall.ProcAttr {
	uid, groups := os.Geteuid(), []int{os.Getegid()}
	if c := attr.Sys.Credential; c != nil {
		uid, groups = int(c.Uid), []int{int(c.Gid)}
		for _, g := range c.Groups {
			if !slices.Contains(groups, int(g)) {
				groups = append(groups, int(g))
			}
		}
	}
	if uid == 0 || !countsByNamespace() {
		return nil
	}
	apart, sys := *attr, *attr.Sys
	apart.Sys = &sys
	sys.Cloneflags = syscall.CLONE_NEWUSER
	sys.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
	for _, g := range groups {
		sys.GidMappings = append(sys.GidMappings, syscall.SysProcIDMap{ContainerID: g, HostID: g, Size: 1})
	}
	sys.GidMappingsEnableSetgroups = attr.Sys.Credential != nil
	return &apart
}

// countsByNamespace reports whether the kernel does so: since Linux 5.14.
func countsByNamespace() bool {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return false
	}
	var major, minor int
	_, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor)
	return err == nil && (major > 5 || major == 5 && minor >= 14)
}
