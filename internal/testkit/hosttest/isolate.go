package hosttest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// isolatedEnv names the variable with the role of a copy of the test binary:
// isolatedInit is the first process of the namespaces, isolatedTests runs the tests.
const (
	isolatedEnv   = "HOSTTEST_ISOLATED"
	isolatedInit  = "init"
	isolatedTests = "tests"
)

// isolate runs the tests in new namespaces and returns their exit code. It returns
// false if the kernel does not allow that. No process, mount or connection of the
// tests outlives them.
func isolate() (code int, ok bool) {
	cmd := copyOfItself(isolatedInit)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		fmt.Fprintln(os.Stderr, "making namespaces:", err)
		return 0, false
	}
	return cmd.ProcessState.ExitCode(), true
}

func copyOfItself(role string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), isolatedEnv+"="+role)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}

// beInit is the main function of the first process of the namespaces. It prepares
// them, runs the tests, and waits for orphaned processes.
func beInit() int {
	if err := prepareNamespaces(); err != nil {
		fmt.Fprintln(os.Stderr, "preparing the namespaces (HOSTTEST_ISOLATE=0 disables them):", err)
		return 1
	}
	cmd := copyOfItself(isolatedTests)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "running the tests:", err)
		return 1
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			fmt.Fprintln(os.Stderr, "waiting for the tests:", err)
			return 1
		case pid == cmd.Process.Pid && status.Exited():
			return status.ExitStatus()
		case pid == cmd.Process.Pid:
			fmt.Fprintln(os.Stderr, "the tests ended by", status.Signal())
			return 1
		}
	}
}

// prepareNamespaces makes mounts private, mounts a /proc with the namespace's
// processes, and brings the loopback interface up.
func prepareNamespaces() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening a socket: %w", err)
	}
	defer unix.Close(s)
	request := struct {
		name  [unix.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}{flags: unix.IFF_UP | unix.IFF_RUNNING}
	copy(request.name[:], "lo")
	if _, _, code := unix.Syscall(unix.SYS_IOCTL, uintptr(s), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request))); code != 0 {
		return fmt.Errorf("bringing the loopback interface up: %w", code)
	}
	return nil
}
