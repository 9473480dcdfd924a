package rest

import "golang.org/x/sys/unix"

// hungUp reports whether the peer of a socket has closed it, or its half of it.
func hungUp(fd uintptr) bool {
	const over = unix.POLLRDHUP | unix.POLLHUP | unix.POLLERR | unix.POLLNVAL
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&over != 0
}
