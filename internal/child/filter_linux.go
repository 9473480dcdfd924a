//go:build amd64 || arm64

package child

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Confine permanently limits all threads of this process to the system calls that
// work on untrusted input needs: it can compute, and read and write open files. It
// cannot open files. If files is set, it can create files where Job.Writes allows.
//
// The kernel kills a process that opens a socket, starts a program or manipulates
// another process, because no role does that. All other system calls fail as they do
// on a kernel that does not have them, so that libraries fall back to another way.
//
// If the kernel or the container does not support filters, Confine does nothing.
// Confined reports that.
func Confine(files bool) error {
	filter, err := filterOf(files)
	if err != nil {
		return fmt.Errorf("making the filter of system calls: %w", err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up privileges: %w", err)
	}
	if err := install(filter, unix.SECCOMP_FILTER_FLAG_TSYNC); err != nil && !notHere(err) {
		return fmt.Errorf("setting the filter of system calls: %w", err)
	}
	return nil
}

// install sets a filter on this thread or, with SECCOMP_FILTER_FLAG_TSYNC, on all
// threads.
func install(filter []bpf.RawInstruction, flags uintptr) error {
	program := make([]unix.SockFilter, len(filter))
	for i, in := range filter {
		program[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(program)
	switch {
	case errno != 0:
		return errno
	case thread != 0:
		return fmt.Errorf("thread %d already has another filter", thread)
	}
	return nil
}

// filters reports whether filters are supported, by setting one on this thread that
// allows everything.
func filters() bool {
	all, err := bpf.Assemble([]bpf.Instruction{bpf.RetConstant{Val: allow}})
	return err == nil && install(all, 0) == nil
}

// The system calls that Go, the C library and ONNX Runtime make to read input,
// compute and write output.
var allowed = []uint32{
	unix.SYS_READ, unix.SYS_READV, unix.SYS_PREAD64, unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_PWRITE64, unix.SYS_CLOSE, unix.SYS_LSEEK, unix.SYS_FSTAT, unix.SYS_STATX, unix.SYS_FSYNC, unix.SYS_FDATASYNC,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2,
	unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MREMAP, unix.SYS_MPROTECT, unix.SYS_MADVISE, unix.SYS_MINCORE, unix.SYS_BRK, unix.SYS_MEMBARRIER,
	unix.SYS_FUTEX, unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_SET_TID_ADDRESS, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
	unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_SCHED_GETPARAM, unix.SYS_SCHED_GETSCHEDULER, unix.SYS_GETCPU,
	unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETRES, unix.SYS_GETTIMEOFDAY,
	unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_GETPPID, unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID, unix.SYS_GETEGID, unix.SYS_GETRLIMIT, unix.SYS_GETRUSAGE, unix.SYS_TIMES, unix.SYS_UNAME, unix.SYS_SYSINFO, unix.SYS_GETRANDOM,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK, unix.SYS_RESTART_SYSCALL,
}

// The system calls that only a hijacked process makes.
var deadly = []uint32{
	unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_ACCEPT, unix.SYS_ACCEPT4, unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG, unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_RECVMMSG,
	unix.SYS_EXECVE, unix.SYS_EXECVEAT,
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PROCESS_MADVISE, unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_GETFD, unix.SYS_PIDFD_SEND_SIGNAL, unix.SYS_KCMP,
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
	unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETRESUID, unix.SYS_SETRESGID, unix.SYS_SETGROUPS, unix.SYS_CAPSET,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL, unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_OPEN_BY_HANDLE_AT,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_QUOTACTL, unix.SYS_ACCT,
}

const (
	allow = unix.SECCOMP_RET_ALLOW
	kill  = unix.SECCOMP_RET_KILL_PROCESS
	// The file system appears to be empty to these calls.
	noFile = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOENT)
	// Calls that are not listed appear to be missing. Libraries would trust EPERM as
	// a real answer.
	unknown = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
)

// filterOf returns the filter of Confine. Each system call has one rule, which
// always ends the program.
func filterOf(files bool) ([]bpf.RawInstruction, error) {
	self := uint32(os.Getpid())
	f := filter{}
	f.begin()
	for _, number := range slices.Concat(allowed, allowedOfArch) {
		f.rule(number, allow)
	}
	for _, number := range deadly {
		f.rule(number, kill)
	}
	for _, number := range opensOfArch {
		f.rule(number, noFile)
	}
	// clone3's flags are in memory, which a filter cannot see.
	f.rule(unix.SYS_CLONE, unknown, bits(0, unix.CLONE_THREAD))
	// Other commands can cause signals.
	f.rule(unix.SYS_FCNTL, unknown, equal(2, unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL, unix.F_DUPFD_CLOEXEC))
	f.rule(unix.SYS_KILL, unknown, equal(0, self))
	f.rule(unix.SYS_TGKILL, unknown, equal(0, self))
	f.rule(unix.SYS_PRCTL, unknown, equal(0, unix.PR_SET_NAME, unix.PR_GET_NAME, unix.PR_SET_VMA))
	// It may only read limits.
	f.rule(unix.SYS_PRLIMIT64, unknown, equal(4, 0), equal(5, 0))
	if files {
		// It may only create new files.
		f.rule(unix.SYS_OPENAT, noFile, bits(4, unix.O_CREAT), bits(4, unix.O_EXCL))
		f.rule(unix.SYS_RENAMEAT, allow)
		f.rule(unix.SYS_RENAMEAT2, allow)
	} else {
		f.rule(unix.SYS_OPENAT, noFile)
	}
	return bpf.Assemble(append(f, bpf.RetConstant{Val: unknown}))
}

// filter is a program under construction.
type filter []bpf.Instruction

// Offsets in struct seccomp_data.
const (
	offNumber = 0
	offArch   = 4
	offWords  = 16 // the arguments, two words each, the lower one first
	wordSize  = 4
)

// begin loads the number of the system call. Calls of another architecture are
// unknown.
func (f *filter) begin() {
	*f = append(*f,
		bpf.LoadAbsolute{Off: offArch, Size: wordSize},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		bpf.RetConstant{Val: unknown},
		bpf.LoadAbsolute{Off: offNumber, Size: wordSize},
	)
}

// condition is a test of a word of the arguments. The word must equal one of the
// values, or have all bits of the only value.
type condition struct {
	word   uint32
	bits   bool
	values []uint32
}

func equal(word uint32, values ...uint32) condition { return condition{word: word, values: values} }
func bits(word, value uint32) condition {
	return condition{word: word, bits: true, values: []uint32{value}}
}

// rule adds the rule of a system call. Without conditions it ends in action. With
// conditions it allows the call if all hold, and otherwise ends in action.
func (f *filter) rule(number, action uint32, conditions ...condition) {
	var body []bpf.Instruction
	for _, c := range conditions {
		body = append(body, bpf.LoadAbsolute{Off: offWords + wordSize*c.word, Size: wordSize})
		test := bpf.JumpEqual
		if c.bits {
			test = bpf.JumpBitsSet
		}
		for i, value := range c.values {
			body = append(body, bpf.JumpIf{Cond: test, Val: value, SkipTrue: uint8(len(c.values) - i)}) // over the other values and the end
		}
		body = append(body, bpf.RetConstant{Val: action})
	}
	if len(conditions) > 0 {
		action = allow
	}
	body = append(body, bpf.RetConstant{Val: action})
	*f = append(*f, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: number, SkipTrue: uint8(len(body))})
	*f = append(*f, body...)
}
