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
// children, and returns the number of their threads. If visit returns false, the
// processes below that one are skipped.
//
// Processes may start and end during the walk. A second walk finds what the first
// missed.
func descendants(root int, visit func(pid int) bool) (threads int) {
	return walk(root, lister(), visit)
}

// lister returns a function that lists a process's children and counts its threads.
func lister() func(pid int) (children []int, threads int) {
	if _, err := os.Stat("/proc/thread-self/children"); err != nil {
		return scanned() // the kernel lacks CONFIG_PROC_CHILDREN
	}
	return childrenOf
}

func walk(root int, children func(pid int) ([]int, int), visit func(pid int) bool) (threads int) {
	seen := map[int]bool{root: true}
	first, _ := children(root)
	next := slices.Clone(first) // children may keep using it
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

// childrenOf asks the kernel for a process's children and counts its threads.
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

// scanned returns a function like childrenOf that reads the parents of all
// processes.
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

// mostPasses limits the searches for processes that are not stopped yet.
const mostPasses = 200

// endDescendants kills the descendants of this process and returns them. It skips
// processes for which spare returns true, and what is below them. It stops all
// before it kills any: otherwise it might never catch up with a process that keeps
// starting others.
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

// signalChild sends a signal to a process whose parent is in a family. Members of
// the family may end meanwhile, and their ids may pass to other processes.
func signalChild(pid int, family func(pid int) bool, signal syscall.Signal) bool {
	return signalIf(pid, func() bool { return family(statOf(strconv.Itoa(pid)).parent) }, signal)
}

// signalIf sends a signal to a process if holds returns true. It opens the process
// before it calls holds, so that no signal reaches a process that takes over the id.
func signalIf(pid int, holds func() bool, signal syscall.Signal) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return false
	case err != nil: // pidfds are not supported, or no descriptor is left
		return holds() && unix.Kill(pid, signal) == nil
	}
	defer func() { _ = unix.Close(fd) }()
	return holds() && unix.PidfdSendSignal(fd, signal, nil, 0) == nil
}
