package rest

import (
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// quiet makes the kernel ignore further attempts to connect to a listener.
// Connections that are being established are still completed. An ignored client
// tries again, and is refused once the listener is closed. It has not sent a request
// by then, unlike a client whose connection waits to be accepted.
func quiet(ln net.Listener) error {
	raw, ok := ln.(syscall.Conn)
	if !ok {
		return nil
	}
	control, err := raw.SyscallConn()
	if err != nil {
		return fmt.Errorf("reaching the listener's socket: %w", err)
	}
	const (
		flags = 13   // offset of the flags in a TCP header
		mask  = 0x12 // ACK and SYN
		syn   = 0x02
		all   = 0xffffffff
	)
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: flags},
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: mask},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: syn, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: all},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	var set error
	err = control.Control(func(fd uintptr) {
		set = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program)
	})
	if err == nil {
		err = set
	}
	if err != nil {
		return fmt.Errorf("filtering the listener's packets: %w", err)
	}
	return nil
}

// waiting reports whether a listener has connections that it has not accepted yet.
func waiting(ln net.Listener) bool {
	raw, ok := ln.(syscall.Conn)
	if !ok {
		return false
	}
	control, err := raw.SyscallConn()
	if err != nil {
		return false
	}
	n := uint32(0)
	_ = control.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = info.Unacked // for a listener, the length of its queue
		}
	})
	return n > 0
}

// hungUp reports whether a socket's peer has closed the connection or its half of
// it.
func hungUp(fd uintptr) bool {
	const over = unix.POLLRDHUP | unix.POLLHUP | unix.POLLERR | unix.POLLNVAL
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&over != 0
}

// receive reads what has arrived at a socket without waiting for more.
func receive(fd uintptr, b []byte) int {
	n, _, err := unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT)
	if err != nil {
		return 0
	}
	return n
}
