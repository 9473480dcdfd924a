//go:build unix

package process

import (
	"os"
	"strconv"
	"syscall"
	"time"
)

const watchEvery = 200 * time.Millisecond

// watchParent ends this process, and those that it started, when the host is gone:
// the kernel's own signal on a parent's death can be lost. It runs until then.
func watchParent(parent string) {
	pid, err := strconv.Atoi(parent)
	if err != nil {
		return // not started by a host that says so
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
