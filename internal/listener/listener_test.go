package listener

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestListen(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1", "[::1]", "localhost", ""} {
		ln, err := Listen(t.Context(), host, 0)
		if err != nil {
			t.Errorf("%q: %v", host, err)
			continue
		}
		_, err = Listen(t.Context(), host, ln.Addr().(*net.TCPAddr).Port)
		if err == nil || !strings.Contains(err.Error(), "--port") {
			t.Errorf("%q, in use: %v", host, err)
		}
		_ = ln.Close()
	}
	for want, host := range map[string]string{"--host": "192.0.2.1", "the name is unknown": "no-such-host.invalid"} {
		if _, err := Listen(t.Context(), host, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", host, err)
		}
	}
	if got := advice(&net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EACCES)}); !strings.Contains(got, "needs privileges") {
		t.Error(got)
	}
}

// TestListenerIsPlainTCP checks that the listener does not use Multipath TCP, Go's
// default. Such a socket takes no filter, and each stop would reset connecting
// clients.
func TestListenerIsPlainTCP(t *testing.T) {
	ln, err := Listen(t.Context(), "127.0.0.1", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	control, err := ln.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var protocol int
	var got error
	if err := control.Control(func(fd uintptr) { protocol, got = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL) }); err != nil || got != nil {
		t.Fatal(err, got)
	}
	if protocol != unix.IPPROTO_TCP {
		t.Errorf("its protocol is %d, want %d", protocol, unix.IPPROTO_TCP)
	}
}
