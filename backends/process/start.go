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
// plugin. bounded says that the kernel limits the number of the plugin's processes.
// Call start on a thread that outlives the plugin.
func (s *spec) start() (pid int, bounded bool, err error) {
	if err := s.limit(); err != nil {
		return 0, false, err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 0, false, fmt.Errorf("giving up privileges: %w", err)
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
	// The user may have too many processes, some of which are about to be ended.
	for n := 0; errors.Is(err, syscall.EAGAIN) && n < 60; n++ {
		time.Sleep(50 * time.Millisecond)
		pid, bounded, err = s.forkExec(path, attr)
	}
	if err != nil {
		return 0, false, fmt.Errorf("running %s as user %d: %w", s.Args[0], user, err)
	}
	// Only the plugin may hold its output open.
	if err := errors.Join(unix.Dup2(int(null.Fd()), 1), unix.Dup2(int(null.Fd()), 2)); err != nil {
		return 0, false, fmt.Errorf("closing the plugin's output: %w", err)
	}
	return pid, bounded, nil
}

// limit lowers the limits of this process, which its children inherit.
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

// whileLower calls a function while a soft limit of this process is lowered, and
// then restores the limit.
func whileLower(which int, lower func(have uint64) uint64, call func() error) error {
	var have unix.Rlimit
	err := unix.Getrlimit(which, &have)
	if err == nil {
		err = unix.Setrlimit(which, &unix.Rlimit{Cur: min(have.Cur, lower(have.Cur)), Max: have.Max})
	}
	if err != nil {
		return fmt.Errorf("setting a limit: %w", err)
	}
	defer func() { _ = unix.Setrlimit(which, &have) }() // it had this value before
	return call()
}

// forkExec starts the program, if possible, in its own user namespace. The kernel
// counts processes per namespace, so a limit there keeps the plugin from starting
// more processes than can be ended and takes none from the user's other processes.
// All ids are the same inside.
//
// Otherwise the limit counts all processes of the user. It is set to three quarters
// of its former value, which leaves some for the host.
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
				if pid, err = syscall.ForkExec(path, s.Args, apart); err == nil { //nolint:gosec // the operator has allowed it
					// Set before the start, it would limit all of the user's
					// processes. If it cannot be set, the user's limit still
					// applies.
					more := s.Processes + s.Processes/8 // so that an excess can be seen
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

// processLimit returns how many processes and threads a plugin may have: a quarter
// of its user's limit, if that is less than the default.
func processLimit() uint64 {
	const most = 512
	var have unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &have); err != nil {
		return most
	}
	return min(most, have.Cur/4)
}

// separated returns attr with a user namespace, or nil if a namespace would not help
// or would take root's privileges away.
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

// countsByNamespace reports whether the kernel counts processes per namespace, as
// Linux does since 5.14.
func countsByNamespace() bool {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return false
	}
	var major, minor int
	_, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor)
	return err == nil && (major > 5 || major == 5 && minor >= 14)
}
