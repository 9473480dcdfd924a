package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

const groupRoot = "/sys/fs/cgroup"

// limits are the limits of a control group; zero: no limit.
type limits struct {
	memory     int64 // bytes
	pids       int
	cpuPercent int // of one processor
}

// group is a control group of version 1 or 2.
type group struct {
	dirs    []string
	memory  string // the directory that accounts for memory
	tasks   string // the directory that accounts for processes and threads
	version int
}

// newGroup makes a control group that the test's cleanup removes. It skips the test
// if that is impossible.
func newGroup(t *testing.T, l limits) *group {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("control groups need root")
	}
	g := &group{version: 1}
	if controllers, err := os.ReadFile(filepath.Join(groupRoot, "cgroup.controllers")); err == nil && strings.Contains(string(controllers), "memory") {
		g.version = 2
	}
	name := fmt.Sprintf("pynomaly-faults-%d-%s", os.Getpid(), filepath.Base(t.TempDir()))
	set := func(controller string, files map[string]string) string {
		dir := filepath.Join(groupRoot, controller, name)
		if g.version == 2 {
			dir = filepath.Join(groupRoot, name)
		}
		g.make(t, dir)
		for file, value := range files {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0); err != nil {
				t.Skipf("limiting %s of a control group: %v", controller, err)
			}
		}
		return dir
	}
	one := g.version == 1
	if l.memory > 0 {
		file := map[bool]string{true: "memory.limit_in_bytes", false: "memory.max"}[one]
		g.memory = set("memory", map[string]string{file: strconv.FormatInt(l.memory, 10)})
	}
	if l.pids > 0 {
		g.tasks = set("pids", map[string]string{"pids.max": strconv.Itoa(l.pids)})
	}
	if l.cpuPercent > 0 {
		quota := strconv.Itoa(1000 * l.cpuPercent)
		if one {
			set("cpu", map[string]string{"cpu.cfs_quota_us": quota})
		} else {
			set("cpu", map[string]string{"cpu.max": quota + " 100000"})
		}
	}
	return g
}

// make makes a directory of control groups unless it exists.
func (g *group) make(t *testing.T, dir string) {
	t.Helper()
	for _, d := range g.dirs {
		if d == dir {
			return
		}
	}
	if g.version == 2 {
		_ = os.WriteFile(filepath.Join(groupRoot, "cgroup.subtree_control"), []byte("+memory +pids +cpu"), 0)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("making a control group: %v", err)
	}
	g.dirs = append(g.dirs, dir)
	t.Cleanup(func() {
		testkit.Eventually(t, "nothing is left in the control group "+dir, func() bool {
			err := os.Remove(dir)
			return err == nil || os.IsNotExist(err)
		})
	})
}

// directories returns the directories of the groups that a host joins, or nil
// without a group.
func (g *group) directories() []string {
	if g == nil {
		return nil
	}
	return g.dirs
}

// pids returns the number of processes and threads in the group.
func (g *group) pids(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(readFile(t, filepath.Join(g.tasks, "pids.current"))))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// limitPids changes the limit of processes and threads.
func (g *group) limitPids(t *testing.T, n int) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(g.tasks, "pids.max"), []byte(strconv.Itoa(n)), 0); err != nil {
		t.Fatal(err)
	}
}

// peak returns the largest number of bytes that the group has used.
func (g *group) peak(t *testing.T) int64 {
	t.Helper()
	file := map[int]string{1: "memory.max_usage_in_bytes", 2: "memory.peak"}[g.version]
	n, err := strconv.ParseInt(strings.TrimSpace(readFile(t, filepath.Join(g.memory, file))), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// killed returns how many processes of the group were killed because memory ran out.
func (g *group) killed(t *testing.T) int {
	t.Helper()
	file := map[int]string{1: "memory.oom_control", 2: "memory.events"}[g.version]
	for line := range strings.Lines(readFile(t, filepath.Join(g.memory, file))) {
		if count, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
			n, err := strconv.Atoi(count)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("the control group does not count kills")
	return 0
}

func readFile(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
