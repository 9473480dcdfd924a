package child

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_X86_64

// Linux on amd64 has these besides the calls of newer architectures. Those of its
// x32 interface have other numbers.
var (
	allowedOfArch = []uint32{unix.SYS_NEWFSTATAT, unix.SYS_STAT, unix.SYS_LSTAT, unix.SYS_POLL, unix.SYS_EPOLL_WAIT, unix.SYS_TIME}
	opensOfArch   = []uint32{unix.SYS_OPEN, unix.SYS_CREAT}
)
