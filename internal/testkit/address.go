package testkit

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"testing"
)

// FreeAddress returns a loopback address with a free port. Nothing holds the port, but
// the kernel gives it to no other connection or listener that does not ask for it: it
// is below the range from which the kernel chooses.
func FreeAddress(t testing.TB) string {
	t.Helper()
	const first = 10000
	end := 0
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(text), &end)
	}
	for tries := 0; tries < 1000 && end > first+1000; tries++ {
		port := first + rand.IntN(end-first)
		ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))) //nolint:noctx // only to see whether it is free
		if err != nil {
			continue
		}
		_ = ln.Close()
		return ln.Addr().String()
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // only to find a port
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
