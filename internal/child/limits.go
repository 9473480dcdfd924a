package child

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrCramped means that a limit which this process has inherited leaves it less
// than its job may need.
var ErrCramped = errors.New("a limit of this host's process (ulimit -v) leaves too little address space")

// What LimitSelf writes to standard error, for Run: that the inherited limit on
// memory is the lower one, and that all limits are set.
const (
	limited   = "limits set\n"
	inherited = "the inherited limit of address space stays\n"
)

// LimitSelf bounds, for good, how much more memory than now this process may map
// and how much processor time it may use, and switches core dumps off. Limits that
// the process has inherited are never raised. Where the inherited one on memory is
// the lower one, cramped is true: a lack of memory is then not the job's fault. Only
// Linux enforces a limit on memory; elsewhere memory is not bounded.
func LimitSelf(memory int64, cpu time.Duration) (cramped bool, err error) {
	if cramped, err = limitMemory(memory); err != nil {
		return cramped, err
	}
	if cramped {
		fmt.Fprint(os.Stderr, inherited)
	}
	seconds := uint64((cpu + time.Second - 1) / time.Second)
	if _, err := lower(unix.RLIMIT_CPU, seconds, seconds+1); err != nil {
		return cramped, fmt.Errorf("limiting processor time: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return cramped, fmt.Errorf("switching core dumps off: %w", err)
	}
	fmt.Fprint(os.Stderr, limited)
	return cramped, nil
}

// lower sets a limit where the one in force is higher, and reports whether the one
// in force was lower.
func lower(resource int, soft, hard uint64) (wasLower bool, err error) {
	var now unix.Rlimit
	if err := unix.Getrlimit(resource, &now); err != nil {
		return false, err
	}
	next := unix.Rlimit{Cur: min(soft, now.Cur), Max: min(hard, now.Max)}
	return now.Cur < soft, unix.Setrlimit(resource, &next)
}
