package testkit

import (
	"net"
	"testing"
)

// FreeAddress returns a loopback address that nobody listens at.
func FreeAddress(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a port is looked for
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
