//go:build linux

package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// cgroups makes a group (version 2) for each process of a plugin, below a directory
// that the host can write to. If it is nil, the host sets limits without groups.
type cgroups struct {
	dir  string
	home string // cgroup.procs of the host's group; empty: unknown
	host string // unique among all hosts
	made atomic.Int64
}

// openCgroups returns the groups below the configured directory, or an error if that
// cannot be used. Without one it uses the host's own group if possible.
func openCgroups(configured string) (*cgroups, error) {
	own := ownCgroup()
	c := &cgroups{dir: own}
	if own != "" {
		c.home = filepath.Join(own, "cgroup.procs")
	}
	if configured != "" {
		c.dir = configured
		if err := usable(configured); err != nil {
			return nil, fmt.Errorf("backends.process.cgroup: %w", err)
		}
		return c, nil
	}
	if own == "" || usable(own) != nil {
		c = nil // set limits without groups
	}
	return c, nil
}

// ownCgroup returns the directory of this process's group (version 2), or "" if
// there is none.
func ownCgroup() string {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if own, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return filepath.Join("/sys/fs/cgroup", own)
		}
	}
	return ""
}

// usable returns an error if groups below dir cannot be made or would limit nothing.
func usable(dir string) error {
	have, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	if err != nil {
		return fmt.Errorf("%s is not a cgroup (version 2): %w", dir, err)
	}
	for _, controller := range []string{"memory", "pids"} {
		if !strings.Contains(" "+strings.TrimSpace(string(have))+" ", " "+controller+" ") {
			return fmt.Errorf("%s does not delegate the controller %s: write +%s to its cgroup.subtree_control", dir, controller, controller)
		}
	}
	probe, err := os.MkdirTemp(dir, "pynomaly-probe-")
	if err != nil {
		return fmt.Errorf("making a cgroup: %w", err)
	}
	return os.Remove(probe)
}

// prefix returns the first part of the paths of this host's groups.
func (c *cgroups) prefix() string {
	return filepath.Join(c.dir, "pynomaly-"+c.host+"-")
}

// group is the group of one process.
type group struct{ dir, home string }

// make makes a group with limits and moves a process into it.
func (c *cgroups) make(pid int, memory int64, processes uint64) (*group, error) {
	g := &group{dir: c.prefix() + strconv.FormatInt(c.made.Add(1), 10), home: c.home}
	if err := os.Mkdir(g.dir, 0o755); err != nil { //nolint:gosec // as the kernel makes them
		return nil, fmt.Errorf("making a cgroup: %w", err)
	}
	_ = g.write("memory.swap.max", "0") // the kernel may have no swap
	for _, setting := range [][2]string{
		{"memory.max", strconv.FormatInt(memory, 10)}, {"pids.max", strconv.FormatUint(processes, 10)}, {"cgroup.procs", strconv.Itoa(pid)},
	} {
		if err := g.write(setting[0], setting[1]); err != nil {
			return nil, errors.Join(fmt.Errorf("limiting a cgroup: %w", err), os.Remove(g.dir))
		}
	}
	return g, nil
}

func (g *group) write(name, value string) error {
	return os.WriteFile(filepath.Join(g.dir, name), []byte(value), 0o644) //nolint:gosec // as the kernel makes them
}

// release moves a process back to the host's group. If the kernel does not allow
// that, the process stays and counts for the group's limits.
func (g *group) release(pid int) {
	f, err := os.OpenFile(g.home, os.O_WRONLY, 0)
	if err != nil {
		return
	}
	_, _ = f.WriteString(strconv.Itoa(pid))
	_ = f.Close()
}

// end kills all processes of a group and removes it.
func (g *group) end() {
	_ = g.write("cgroup.kill", "1")
	for range 50 { // the last of them may still be exiting
		if err := os.Remove(g.dir); err == nil || errors.Is(err, os.ErrNotExist) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// endGroups ends the groups of a host that is gone.
func endGroups(prefix string) {
	left, _ := filepath.Glob(prefix + "*")
	for _, dir := range left {
		(&group{dir: dir}).end()
	}
}
