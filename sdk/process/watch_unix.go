//go:build unix

package process

import (
	"os"
	"strconv"
	"syscall"
	"time"
)

const watchEvery = 200 * time.Millisecond

// watchParent ends this process and its process group when the host is gone.
// The kernel also signals a parent's death, but that signal can be lost.
func watchParent(parent string) {
	pid, err := strconv.Atoi(parent)
	if err != nil {
		return // started by hand, or by a host that sets no ParentEnv
	}
	go func() {
		for os.Getppid() == pid {
			time.Sleep(watchEvery)
		}
		if syscall.Getpgrp() == os.Getpid() {
			_ = syscall.Kill(0, syscall.SIGKILL)
		}
		os.Exit(1)
	}()
}
