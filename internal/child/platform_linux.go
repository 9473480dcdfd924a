package child

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/internal/host"
)

// self returns a path to this process's binary that stays valid if the file is
// replaced.
func self() (string, error) { return "/proc/self/exe", nil }

// apart gives a process its own group. The kernel kills the process when its parent
// ends.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// limitMemory limits how much more memory this process may map.
func limitMemory(more int64) (cramped bool, err error) {
	size, err := host.VirtualBytes()
	if err != nil {
		return false, fmt.Errorf("measuring this process: %w", err)
	}
	if cramped, err = lower(unix.RLIMIT_AS, uint64(size+more), uint64(size+more)); err != nil {
		return cramped, fmt.Errorf("limiting memory: %w", err)
	}
	return cramped, nil
}
