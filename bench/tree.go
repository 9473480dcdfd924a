package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// descendant is a process that this one has started, directly or not. Its number and
// its start identify it.
type descendant struct {
	pid    int
	start  uint64        // clock ticks since boot
	user   time.Duration // time in user mode
	parent int
}

// adopt makes this process the parent of descendants whose own parents have ended.
func adopt() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("adopting processes: %w", err)
	}
	return nil
}

// descendants returns all processes that this one has started, directly or not.
func descendants() ([]descendant, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, fmt.Errorf("looking for processes: %w", err)
	}
	children := map[int][]descendant{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		d, err := parseStat(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		children[d.parent] = append(children[d.parent], d)
	}
	all := children[os.Getpid()]
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i].pid]...)
	}
	return all, nil
}

// ticks is USER_HZ, which is 100 on all of Linux's platforms that Go supports.
const ticks = 100

// parseStat reads /proc/PID/stat.
func parseStat(text []byte) (descendant, error) {
	const parent, user, start, fields = 1, 11, 19, 20 // after the name
	pid, rest, ok := bytes.Cut(text, []byte(" ("))
	end := bytes.LastIndexByte(rest, ')')
	if !ok || end < 0 {
		return descendant{}, fmt.Errorf("reading a process's state: %.100q", text)
	}
	after := strings.Fields(string(rest[end+1:]))
	if len(after) < fields {
		return descendant{}, fmt.Errorf("reading a process's state: %.100q", text)
	}
	var d descendant
	var errs [4]error
	var spent uint64
	d.pid, errs[0] = strconv.Atoi(string(pid))
	d.parent, errs[1] = strconv.Atoi(after[parent])
	spent, errs[2] = strconv.ParseUint(after[user], 10, 40)
	d.start, errs[3] = strconv.ParseUint(after[start], 10, 64)
	d.user = time.Duration(spent) * (time.Second / ticks)
	if err := errors.Join(errs[:]...); err != nil {
		return descendant{}, fmt.Errorf("reading a process's state: %w", err)
	}
	return d, nil
}

// treeCPU returns the processor time of all descendants that are running.
func treeCPU() (time.Duration, error) {
	all, err := descendants()
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, d := range all {
		t, err := cpuOf(d.pid)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

// treeMemory returns the resident bytes of all descendants. A page that several
// processes share is counted once.
func treeMemory() (int64, error) {
	all, err := descendants()
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, d := range all {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", d.pid))
		if err != nil {
			continue // it has ended
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) < 2 || fields[0] != "Pss:" {
				continue
			}
			kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("reading the memory use: %w", err)
			}
			sum += kilobytes << 10
		}
	}
	return sum, nil
}

// clock holds what tells whether something else used the machine.
type clock struct {
	at                   time.Time
	machine, own, stolen time.Duration // user mode of all programs, of this one and its descendants; withheld by the hypervisor
}

func readClock() (clock, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return clock{}, fmt.Errorf("reading the machine's clocks: %w", err)
	}
	const user, nice, stolen = 1, 2, 8
	fields := strings.Fields(strings.SplitN(string(text), "\n", 2)[0])
	if len(fields) <= stolen {
		return clock{}, fmt.Errorf("reading the machine's clocks: %q", fields)
	}
	var spent [stolen + 1]time.Duration
	for i := 1; i < len(spent); i++ {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return clock{}, fmt.Errorf("reading the machine's clocks: %w", err)
		}
		spent[i] = time.Duration(n) * (time.Second / ticks)
	}
	all, err := descendants()
	if err != nil {
		return clock{}, err
	}
	var self unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &self); err != nil {
		return clock{}, fmt.Errorf("reading the processor time: %w", err)
	}
	own := time.Duration(self.Utime.Nano())
	for _, d := range all {
		own += d.user
	}
	return clock{at: time.Now(), machine: spent[user] + spent[nice], own: own, stolen: spent[stolen]}, nil
}

// since returns how many processors other programs used since before, and how many the
// hypervisor withheld.
func (c clock) since(before clock) (others, stolen float64) {
	wall := c.at.Sub(before.at)
	used := (c.machine - before.machine) - (c.own - before.own)
	return max(0, float64(used)/float64(wall)), float64(c.stolen-before.stolen) / float64(wall)
}
