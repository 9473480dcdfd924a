package hostlimits

import (
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/internal/cgroup"
)

// spareThreads are for calls that block: of the system, of libraries, and waits for
// the end of children.
const spareThreads = 16

// reserveThreads makes Go create spare threads, and returns how many. Go keeps its
// threads, and ends the process if it needs another one and the system refuses it.
// With spare threads, a host survives a full control group.
func reserveThreads() int {
	n := affordable(spareThreads+2*runtime.GOMAXPROCS(0), left())
	var ready, done sync.WaitGroup
	release := make(chan struct{})
	for range n {
		ready.Add(1)
		done.Go(func() {
			// A locked goroutine keeps its thread even while it waits.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			ready.Done()
			<-release
		})
	}
	ready.Wait()
	close(release)
	done.Wait()
	return n
}

// affordable limits a reserve to a quarter of what is left. left 0 means no limit.
func affordable(want int, left uint64) int {
	if left > 0 {
		want = int(min(uint64(want), left/4))
	}
	return want
}

// left returns how many threads this process may still create, as far as is known,
// and at least 1. It returns 0 if there is no limit.
func left() uint64 {
	var left uint64
	if limit, used := cgroup.Tasks("/"); limit > 0 {
		left = uint64(max(1, limit-used))
	}
	// The user's other processes count as well. Most of the count is taken to be
	// theirs.
	var user unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &user); err == nil && user.Cur < 1<<62 {
		if own := max(1, user.Cur/4); left == 0 || own < left {
			left = own
		}
	}
	return left
}
