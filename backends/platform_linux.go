package backends

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// remoteIO is the errno of a failing remote file system.
const remoteIO = syscall.EREMOTEIO

// openPath opens a directory without the right to list it.
const openPath = unix.O_PATH

// pathOf asks the kernel for the path of an open file.
func pathOf(fd uintptr) (string, error) { return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)) }
