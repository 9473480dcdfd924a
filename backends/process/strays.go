//go:build linux

package process

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// endStrays ends the processes whose HOME is below the private directory of a host
// that is gone. There are some only if the host, the keeper and a supervisor were
// killed together.
func endStrays(dir string) {
	for range 50 {
		found := false
		for _, name := range readNames("/proc") {
			if pid, err := strconv.Atoi(name); err == nil && pid != os.Getpid() {
				found = endStray(pid, dir) || found
			}
		}
		if !found {
			return
		}
		time.Sleep(10 * time.Millisecond) // killed processes, or ones started meanwhile, may remain
	}
}

// endStray kills a stray process, using a pidfd so that it cannot hit another
// process.
func endStray(pid int, dir string) bool {
	if !isAtHome(pid, dir) {
		return false
	}
	return signalIf(pid, func() bool { return isAtHome(pid, dir) }, unix.SIGKILL)
}

// isAtHome reports whether a process's HOME is below dir.
func isAtHome(pid int, dir string) bool {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	if err != nil {
		return false // another user's, or gone
	}
	for entry := range bytes.SplitSeq(text, []byte{0}) {
		if home, ok := bytes.CutPrefix(entry, []byte("HOME="+dir+"/")); ok && len(home) > 0 {
			return true
		}
	}
	return false
}
