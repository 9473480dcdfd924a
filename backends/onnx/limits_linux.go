package onnx

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/internal/host"
)

// goSlack is address space for Go's own heap and threads beside the model.
const goSlack = 256 << 20

// limitSelf bounds the memory and processor time of this process for good.
func limitSelf(job probeJob) error {
	size, err := host.VirtualBytes()
	if err != nil {
		return fmt.Errorf("measuring this process: %w", err)
	}
	space := uint64(size + job.Memory + goSlack)
	if err := unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: space, Max: space}); err != nil {
		return fmt.Errorf("limiting memory: %w", err)
	}
	seconds := uint64((job.Time + time.Second - 1) / time.Second)
	if err := unix.Setrlimit(unix.RLIMIT_CPU, &unix.Rlimit{Cur: seconds, Max: seconds + 1}); err != nil {
		return fmt.Errorf("limiting processor time: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("switching core dumps off: %w", err)
	}
	return nil
}
