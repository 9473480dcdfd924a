//go:build !linux

package rest

import "net"

// hungUp reports whether a socket's peer has closed the connection. Here it always
// returns false.
func hungUp(uintptr) bool { return false }

// quiet makes the kernel ignore further attempts to connect. Here it does nothing.
func quiet(net.Listener) error { return nil }

// waiting reports whether there are connections to accept. Here it always returns
// false.
func waiting(net.Listener) bool { return false }

// receive reads what has arrived at a socket without waiting. Here it reads nothing.
func receive(uintptr, []byte) int { return 0 }
