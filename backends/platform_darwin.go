package backends

import (
	"bytes"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// remoteIO is the errno of a failing remote file system. Darwin has none of its
// own; this one is listed already.
const remoteIO = syscall.EREMOTE

// openPath opens a directory for searching.
const openPath = os.O_RDONLY

// pathOf asks the kernel for the path of an open file.
func pathOf(fd uintptr) (string, error) {
	var buf [unix.PathMax]byte
	if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, fd, unix.F_GETPATH, uintptr(unsafe.Pointer(&buf[0]))); errno != 0 {
		return "", errno
	}
	end := bytes.IndexByte(buf[:], 0)
	if end < 0 {
		end = len(buf)
	}
	return string(buf[:end]), nil
}
