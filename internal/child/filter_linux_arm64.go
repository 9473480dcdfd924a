package child

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

var (
	allowedOfArch = []uint32{unix.SYS_FSTATAT}
	opensOfArch   []uint32
)
