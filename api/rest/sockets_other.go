//go:build !linux

package rest

import "net"

// hungUp reports whether the peer of a socket has closed it; here nobody can tell.
func hungUp(uintptr) bool { return false }

// quiet makes the kernel ignore further attempts to connect; here it cannot.
func quiet(net.Listener) error { return nil }

// waiting reports whether there are connections to accept; here nobody can tell.
func waiting(net.Listener) bool { return false }

// receive reads what has arrived at a socket, without waiting; here it cannot.
func receive(uintptr, []byte) int { return 0 }
