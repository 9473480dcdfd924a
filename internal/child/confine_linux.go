package child

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"sync"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// Confinement says which restrictions the kernel and the container let this host
// impose on its children.
type Confinement struct {
	Seccomp  bool // filters of system calls
	Landlock bool // rules for writing files, connecting and sending signals
}

// Confined tests the restrictions on a thread that then ends.
func Confined() (c Confinement) {
	end, _ := onThread(func() error {
		if err := giveUpPrivileges(); err != nil {
			return err
		}
		c = Confinement{Landlock: shut(nil) == nil, Seccomp: filters()}
		return nil
	})
	end()
	return c
}

// Start starts a process that cannot gain privileges by running a program
// (no_new_privs), nor can its children. It inherits only the descriptors that cmd
// names.
func Start(cmd *exec.Cmd) error {
	end, err := onThread(func() error {
		if err := giveUpPrivileges(); err != nil {
			return err
		}
		if err := keepDescriptors(); err != nil {
			return err
		}
		return cmd.Start()
	})
	end()
	return err
}

// startShut starts a process like Start does. The process can also write only to
// open files and below the given directories, connect to no port, and send signals
// only to itself. Its standard streams must be set. The thread that is its parent,
// as Pdeathsig understands it, lives until end is called.
func startShut(cmd *exec.Cmd, writes []string) (end func(), err error) {
	return onThread(func() error {
		if err := giveUpPrivileges(); err != nil {
			return err
		}
		if err := keepDescriptors(); err != nil {
			return err
		}
		if err := shut(writes); err != nil && !errors.Is(err, errNoLandlock) {
			return err
		}
		return cmd.Start()
	})
}

// onThread calls f on a thread of its own, which ends, with everything that f did to
// it, when end is called. The main thread is not used, because it cannot end.
func onThread(f func() error) (end func(), err error) {
	begun, over := make(chan error), make(chan struct{})
	var run func()
	run = func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			defer runtime.UnlockOSThread()
			ended := make(chan struct{})
			go func() { defer close(ended); run() }()
			<-ended
			return
		}
		begun <- f()
		<-over // a goroutine that ends while locked ends its thread
	}
	go run()
	err = <-begun
	return sync.OnceFunc(func() { close(over) }), err
}

// giveUpPrivileges prevents the children of this thread from gaining privileges.
func giveUpPrivileges() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up privileges: %w", err)
	}
	return nil
}

// keepDescriptors prevents children from inheriting descriptors that this process
// inherited itself beyond the standard streams, such as a lock or a socket of a
// shell or a service manager. Descriptors that the process has opened are closed in
// children anyway.
func keepDescriptors() error {
	const first = 3
	if unix.CloseRange(first, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return nil
	}
	open, err := os.ReadDir("/proc/self/fd") // for kernels before 5.11, and if the container filters close_range
	if err != nil {
		return fmt.Errorf("listing this process's descriptors: %w", err)
	}
	for _, entry := range open {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd >= first {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// errNoLandlock means that the kernel or the container does not support Landlock.
var errNoLandlock = errors.New("this kernel does not support Landlock")

// shut restricts this thread and its children. They may write to files only below
// the given directories, connect to no port and send signals only to their own
// process. Reading is not restricted, because the program has to be loaded.
func shut(writes []string) error {
	rules := landlock.V11
	rules.HandledAccessFS &^= ll.AccessFSExecute | ll.AccessFSReadFile | ll.AccessFSReadDir
	var dirs []landlock.Rule
	if len(writes) > 0 {
		dirs = append(dirs, landlock.RWDirs(writes...))
	}
	fd, flags, err := rules.BestEffort().NewRulesetFD(dirs...)
	if err == nil && fd < 0 {
		return errNoLandlock
	}
	if err == nil {
		defer unix.Close(fd)
		err = ll.LandlockRestrictSelf(fd, flags)
	}
	switch {
	case err == nil:
		return nil
	case notHere(err):
		return fmt.Errorf("%w: %w", errNoLandlock, err)
	}
	return fmt.Errorf("restricting the process: %w", err)
}

// notHere reports whether err means that the kernel or the container lacks a
// feature.
func notHere(err error) bool {
	return slices.ContainsFunc([]error{unix.ENOSYS, unix.EOPNOTSUPP, unix.EINVAL, unix.EPERM, unix.EACCES, unix.E2BIG}, func(e error) bool { return errors.Is(err, e) })
}
