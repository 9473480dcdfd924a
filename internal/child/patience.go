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
	// starvedShare is the share of the time below which a process that is late has got
	// too little of the processors.
	starvedShare = 2
	// patience is how many times Job.Wall a process may take that gets too little of the
	// processors, and something of them in each.
	patience = 6
	// progress is the share of Job.Wall that it must have got in each.
	progress = 100
)

// clock ends a process that takes too long.
type clock struct {
	start   time.Time
	elapsed time.Duration // when the process was ended; 0: it was not
	done    chan struct{}
	ended   sync.WaitGroup
}

// startClock calls end once a process has taken Job.Wall. Where the process got little of
// the processors in that time, because others are at work, too, it is given more.
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

// stop returns how long the process had taken when it was ended; 0: it was not.
func (c *clock) stop() time.Duration {
	close(c.done)
	c.ended.Wait()
	return c.elapsed
}

// processorTime is what a process has used; 0 where that cannot be found out.
func processorTime(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name, in brackets, may hold anything; utime and stime are fields 14 and 15.
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
