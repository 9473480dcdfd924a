//go:build !linux

package child

import (
	"os"
	"os/exec"
	"syscall"
)

// self names this process's binary.
func self() (string, error) { return os.Executable() }

// apart gives a process a group of its own. Nothing here ends it with its parent but
// its limit of processor time.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// limitMemory does nothing: no limit that this platform has is one on memory.
func limitMemory(int64) (cramped bool, err error) { return false, nil }

// Confinement says what the kernel lets this host take from its children: here, nothing.
type Confinement struct {
	Seccomp  bool // filters of system calls
	Landlock bool // rules for what is written and for whom is spoken to
}

// Confined reports that nothing can be taken from children.
func Confined() Confinement { return Confinement{} }

// Start starts a process.
func Start(cmd *exec.Cmd) error { return cmd.Start() }

// startShut starts a process, which is not shut out of anything.
func startShut(cmd *exec.Cmd, _ []string) (end func(), err error) { return func() {}, cmd.Start() }

// Confine does nothing: this platform has no filters of system calls.
func Confine(bool) error { return nil }
