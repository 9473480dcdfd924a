package hostlimits

import (
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/internal/cgroup"
)

// spareThreads are for calls that block: of the system, of libraries, and the waiting for a
// child's end.
const spareThreads = 16

// reserveThreads makes Go have threads in reserve, and returns how many. Go keeps the
// threads that it has, and ends the process when it needs another one and the system
// refuses it: with some in reserve, a host whose control group is full goes on.
func reserveThreads() int {
	n := affordable(spareThreads+2*runtime.GOMAXPROCS(0), left())
	var ready, done sync.WaitGroup
	release := make(chan struct{})
	for range n {
		ready.Add(1)
		done.Go(func() {
			// One that is locked has a thread of its own, also while it waits.
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

// affordable bounds a reserve by a quarter of what is left; 0 is no bound.
func affordable(want int, left uint64) int {
	if left > 0 {
		want = int(min(uint64(want), left/4))
	}
	return want
}

// left returns how many threads this process may still have, as far as it is known, and at
// least 1; 0: they are not limited.
func left() uint64 {
	var left uint64
	if limit, used := cgroup.Tasks("/"); limit > 0 {
		left = uint64(max(1, limit-used))
	}
	// The other processes of the user count, too; they are taken to be most of them.
	var user unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &user); err == nil && user.Cur < 1<<62 {
		if own := max(1, user.Cur/4); left == 0 || own < left {
			left = own
		}
	}
	return left
}
