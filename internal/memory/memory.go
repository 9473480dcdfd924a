// Package memory keeps Go's part of the memory that this process may use below a limit.
//
// What caches and queues take of the rest is decided by those who have them.
package memory

import (
	"os"
	"runtime/debug"
)

// KeepGoBelow makes Go's collector work harder as its memory comes near three
// quarters of a limit: libraries and children need the rest. It returns Go's
// limit. One that GOMEMLIMIT has set stays.
func KeepGoBelow(limit int64) int64 {
	if limit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit / 4 * 3)
	}
	return debug.SetMemoryLimit(-1)
}
