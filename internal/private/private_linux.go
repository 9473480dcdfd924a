package private

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Directories and links are opened without the right to read them.
const (
	openPath = unix.O_PATH
	openLink = unix.O_PATH | unix.O_NOFOLLOW
)

// rootOf returns the directory of a descriptor, whatever is at its path now.
func rootOf(fd int, _ string) (*os.Root, error) {
	return os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", fd))
}

// readLink reads the link of a descriptor.
func readLink(fd int, _ string, buf []byte) (int, error) { return unix.Readlinkat(fd, "", buf) }
