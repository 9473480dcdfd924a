package child

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrCramped means that an inherited limit leaves this process less than its job may
// need.
var ErrCramped = errors.New("a limit of this host's process (ulimit -v) leaves too little address space")

// LimitSelf writes these lines to standard error for Run: that the inherited limit
// on memory is lower, and that all limits are set.
const (
	limited   = "limits set\n"
	inherited = "the inherited limit of address space stays\n"
)

// LimitSelf permanently limits how much more memory this process may map and how
// much processor time it may use, and disables core dumps. It never raises inherited
// limits. If the inherited limit on memory is lower, cramped is true: the job is
// then not to blame for a lack of memory. Only Linux enforces a limit on memory.
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
		return cramped, fmt.Errorf("disabling core dumps: %w", err)
	}
	fmt.Fprint(os.Stderr, limited)
	return cramped, nil
}

// lower sets a limit if the present one is higher, and reports whether the present
// one was lower.
func lower(resource int, soft, hard uint64) (wasLower bool, err error) {
	var now unix.Rlimit
	if err := unix.Getrlimit(resource, &now); err != nil {
		return false, err
	}
	next := unix.Rlimit{Cur: min(soft, now.Cur), Max: min(hard, now.Max)}
	return now.Cur < soft, unix.Setrlimit(resource, &next)
}
