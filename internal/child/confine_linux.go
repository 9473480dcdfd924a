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

// Confinement says what the kernel, and the rules of the container, let this host take
// from its children.
type Confinement struct {
	Seccomp  bool // filters of system calls
	Landlock bool // rules for what is written and for whom is spoken to
}

// Confined tries it, on a thread that ends afterwards.
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

// Start starts a process that gains no privileges by what it runs (no_new_privs), nor
// does what it starts. It has the descriptors that cmd names and no others.
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

// startShut is Start for a process that besides can write to nothing but what is open
// and what is below some directories, connect to no port and send signals to no process
// but its own; it has its standard streams already. The thread that is its parent, in
// the sense of Pdeathsig, ends with end.
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

// onThread calls f on a thread that nothing else runs on, before or after: what f does
// to the thread ends with it, when end is called. The main thread stays as it is, for
// it cannot end.
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
		<-over // a thread that is still locked when its goroutine ends is not used again
	}
	go run()
	err = <-begun
	return sync.OnceFunc(func() { close(over) }), err
}

// giveUpPrivileges makes what this thread starts gain none.
func giveUpPrivileges() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("giving privileges up: %w", err)
	}
	return nil
}

// keepDescriptors keeps from children what this process was started with beside its
// standard streams, such as a lock or a socket of a shell or a service manager. What the
// process has opened itself is closed in children anyway.
func keepDescriptors() error {
	const first = 3
	if unix.CloseRange(first, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return nil
	}
	open, err := os.ReadDir("/proc/self/fd") // kernels before 5.11, and filters of containers
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

// errNoLandlock means that the kernel or the container has none.
var errNoLandlock = errors.New("there is no landlock")

// shut lets this thread, and what it starts, write to files below some directories only,
// connect to no port and send signals to no process but its own. What may be read is
// left as it is: a program has to be loaded yet.
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
	return fmt.Errorf("shutting the process out: %w", err)
}

// notHere reports whether an error says that the kernel or the container has no such
// thing.
func notHere(err error) bool {
	return slices.ContainsFunc([]error{unix.ENOSYS, unix.EOPNOTSUPP, unix.EINVAL, unix.EPERM, unix.EACCES, unix.E2BIG}, func(e error) bool { return errors.Is(err, e) })
}
