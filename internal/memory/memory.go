// Package memory keeps Go's part of the memory that this process may use below a
// limit.
//
// Caches and queues bound their memory themselves.
package memory

import (
	"os"
	"runtime/debug"
)

// KeepGoBelow makes Go's collector work harder as its memory nears three quarters of
// limit, because libraries and children need the rest. It returns Go's limit. It
// keeps a limit that GOMEMLIMIT has set.
func KeepGoBelow(limit int64) int64 {
	if limit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit / 4 * 3)
	}
	return debug.SetMemoryLimit(-1)
}
