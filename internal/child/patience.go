package child

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

const (
	// starvedShare is the share of the elapsed time that a late process must have
	// had of a processor, as a divisor. With less it is starved.
	starvedShare = 2
	// patience is how many times Job.Wall a starved process may take, if it makes
	// progress in each.
	patience = 6
	// progress is the share of Job.Wall, as a divisor, that it must have had of a
	// processor in each.
	progress = 100
)

// clock ends a process that takes too long.
type clock struct {
	start   time.Time
	elapsed time.Duration // when the process was ended; 0: it was not
	done    chan struct{}
	ended   sync.WaitGroup
}

// startClock calls end once a process has taken Job.Wall. A process that had little
// processor time because the machine is busy gets more.
func startClock(wall time.Duration, pid int, end func()) *clock {
	c := &clock{start: time.Now(), done: make(chan struct{})}
	c.ended.Go(func() {
		t := time.NewTicker(wall)
		defer t.Stop()
		last := time.Duration(0)
		for n := range patience {
			select {
			case <-c.done:
				return
			case <-t.C:
			}
			spent := processorTime(pid)
			if spent >= time.Duration(n+1)*wall/starvedShare || spent-last < wall/progress {
				break
			}
			last = spent
		}
		c.elapsed = time.Since(c.start)
		end()
	})
	return c
}

// stop returns how long the process had taken when it was ended, or 0.
func (c *clock) stop() time.Duration {
	close(c.done)
	c.ended.Wait()
	return c.elapsed
}

// processorTime returns the processor time that a process has used, or 0 if unknown.
func processorTime(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name, in parentheses, may contain anything. utime and stime are fields 14
	// and 15.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const utime, stime, ticks = 14 - 3, 15 - 3, 100
	if len(fields) <= stime {
		return 0
	}
	sum := int64(0)
	for _, f := range [][]byte{fields[utime], fields[stime]} {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0
		}
		sum += n
	}
	return time.Duration(sum) * time.Second / ticks
}
