package child

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/internal/host"
)

// LimitSelf bounds, for good, how much more memory than now this process may map
// and how much processor time it may use, and switches core dumps off.
func LimitSelf(memory int64, cpu time.Duration) error {
	size, err := host.VirtualBytes()
	if err != nil {
		return fmt.Errorf("measuring this process: %w", err)
	}
	space := uint64(size + memory)
	if err := unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: space, Max: space}); err != nil {
		return fmt.Errorf("limiting memory: %w", err)
	}
	seconds := uint64((cpu + time.Second - 1) / time.Second)
	if err := unix.Setrlimit(unix.RLIMIT_CPU, &unix.Rlimit{Cur: seconds, Max: seconds + 1}); err != nil {
		return fmt.Errorf("limiting processor time: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("switching core dumps off: %w", err)
	}
	return nil
}
