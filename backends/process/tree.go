//go:build linux

package process

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// descendants calls visit for each process below root, parents before their
// children, and returns how many threads they have together. Where visit returns
// false, what is below that process is left out.
//
// Processes may start others, or end and leave their children to root, while the walk
// goes on: what it misses is found by another one.
func descendants(root int, visit func(pid int) bool) (threads int) {
	return walk(root, lister(), visit)
}

// lister returns a function that lists a process's children and counts its threads.
func lister() func(pid int) (children []int, threads int) {
	if _, err := os.Stat("/proc/thread-self/children"); err != nil {
		return scanned() // a kernel without CONFIG_PROC_CHILDREN
	}
	return childrenOf
}

func walk(root int, children func(pid int) ([]int, int), visit func(pid int) bool) (threads int) {
	seen := map[int]bool{root: true}
	first, _ := children(root)
	next := slices.Clone(first) // children may go on using it
	for len(next) > 0 {
		pid := next[len(next)-1]
		next = next[:len(next)-1]
		if seen[pid] {
			continue
		}
		seen[pid] = true
		if !visit(pid) {
			continue
		}
		more, n := children(pid)
		threads += n
		next = append(next, more...)
	}
	return threads
}

// childrenOf asks the kernel for the children of a process, and counts its threads.
func childrenOf(pid int) (children []int, threads int) {
	dir := "/proc/" + strconv.Itoa(pid) + "/task/"
	names := readNames(dir)
	for _, name := range names {
		text, err := os.ReadFile(dir + name + "/children")
		if err != nil {
			continue // the thread has ended
		}
		for _, field := range bytes.Fields(text) {
			if child, err := strconv.Atoi(string(field)); err == nil {
				children = append(children, child)
			}
		}
	}
	return children, len(names)
}

// scanned is childrenOf by the parents that all processes name.
func scanned() func(pid int) ([]int, int) {
	by := map[int][]int{}
	for _, name := range readNames("/proc") {
		if pid, err := strconv.Atoi(name); err == nil {
			parent := statOf(name).parent
			by[parent] = append(by[parent], pid)
		}
	}
	return func(pid int) ([]int, int) { return by[pid], len(readNames("/proc/" + strconv.Itoa(pid) + "/task")) }
}

func readNames(path string) []string {
	dir, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	return names
}

// mostPasses bounds how often processes are looked for that are not stopped yet.
const mostPasses = 200

// endDescendants kills what is below this process, but what spare names and what is
// below that, and returns what it has killed. All are stopped before any is killed:
// one that starts others faster than they are killed would never end.
func endDescendants(spare func(pid int) bool) map[int]bool {
	stopped := map[int]bool{}
	family := func(pid int) bool { return pid == os.Getpid() || stopped[pid] }
	for range mostPasses {
		before := len(stopped)
		descendants(os.Getpid(), func(pid int) bool {
			if !spare(pid) && !stopped[pid] && signalChild(pid, family, syscall.SIGSTOP) {
				stopped[pid] = true
			}
			return stopped[pid]
		})
		if len(stopped) == before {
			break
		}
	}
	descendants(os.Getpid(), func(pid int) bool {
		return stopped[pid] && signalChild(pid, family, syscall.SIGKILL)
	})
	return stopped
}

// signalChild sends a signal to a process whose parent is one of a family. Others of
// the family may end while this process looks at it, and their numbers become those of
// strangers.
func signalChild(pid int, family func(pid int) bool, signal syscall.Signal) bool {
	return signalIf(pid, func() bool { return family(statOf(strconv.Itoa(pid)).parent) }, signal)
}

// signalIf sends a signal to the process of a number if something holds of it. The
// process has a descriptor from before holds looks at it: if it has ended since, the
// signal goes to nobody.
func signalIf(pid int, holds func() bool, signal syscall.Signal) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return false
	case err != nil: // a kernel or a container without them, or no descriptor is left
		return holds() && unix.Kill(pid, signal) == nil
	}
	defer func() { _ = unix.Close(fd) }()
	return holds() && unix.PidfdSendSignal(fd, signal, nil, 0) == nil
}
