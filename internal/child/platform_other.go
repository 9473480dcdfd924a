//go:build !linux

package child

import (
	"os"
	"os/exec"
	"syscall"
)

// self returns the path of this process's binary.
func self() (string, error) { return os.Executable() }

// apart gives a process its own group. If its parent ends, only the limit on
// processor time ends the process.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// limitMemory does nothing: this platform has no limit on memory.
func limitMemory(int64) (cramped bool, err error) { return false, nil }

// Confinement says which restrictions this host can impose on its children: here,
// none.
type Confinement struct {
	Seccomp  bool // filters of system calls
	Landlock bool // rules for writing files, connecting and sending signals
}

// Confined reports that there are no restrictions.
func Confined() Confinement { return Confinement{} }

// Start starts a process.
func Start(cmd *exec.Cmd) error { return cmd.Start() }

// startShut starts a process without restrictions.
func startShut(cmd *exec.Cmd, _ []string) (end func(), err error) { return func() {}, cmd.Start() }

// Confine does nothing: this platform has no filters of system calls.
func Confine(bool) error { return nil }
