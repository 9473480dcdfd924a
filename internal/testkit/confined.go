package testkit

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Helpers returns the children of this process that run in a role.
func Helpers(t testing.TB, role string) []int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, file := range all {
		dir := filepath.Dir(file)
		line, err := os.ReadFile(file)
		if err != nil || !bytes.HasSuffix(line, []byte("\x00"+role+"\x00")) {
			continue
		}
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue
		}
		_, after, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(after); len(fields) < 2 || fields[1] != strconv.Itoa(os.Getpid()) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, pid)
	}
	return out
}

// Confined reports whether all threads of a process have no_new_privs, and whether
// all have filters of system calls. Both are false if there is no such process.
func Confined(pid int) (noNewPrivs, filtered bool) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	noNewPrivs, filtered = len(files) > 0, len(files) > 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		noNewPrivs = noNewPrivs && strings.Contains(string(text), "\nNoNewPrivs:\t1\n")
		filtered = filtered && strings.Contains(string(text), "\nSeccomp:\t2\n")
	}
	return noNewPrivs, filtered
}
