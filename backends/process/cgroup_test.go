package process_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/process"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestCgroup checks that each process is moved into its own group, with its limits,
// before it runs. The test uses plain files in place of a real cgroup, so it does
// not test the kernel's part.
func TestCgroup(t *testing.T) {
	dir := t.TempDir()
	refused := func(want string) {
		t.Helper()
		if err := process.New(process.Config{Cgroup: dir, User: testkit.PluginUser()}).Err(); !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	refused("is not a cgroup (version 2)")
	control := filepath.Join(dir, "cgroup.subtree_control")
	if err := os.WriteFile(control, []byte("cpu memory\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("does not delegate the controller pids")
	if err := os.WriteFile(control, []byte("memory pids\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := artifact(t, "", xy+"limits: {memory: 128MiB}\n")
	b := process.New(process.Config{
		Cgroup: dir, Allow: []process.Allowed{{Path: a.Dir}}, User: testkit.PluginUser(), Random: func() float64 { return 0.5 }, Log: discard(),
	})
	s, err := b.Open(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	groups := found(t, filepath.Join(dir, "pynomaly-*"))
	if len(groups) != 1 {
		t.Fatalf("%v", groups)
	}
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(groups[0], name))
		if err != nil {
			t.Error(err)
		}
		return string(data)
	}
	if read("memory.max") != "134217728" || read("pids.max") != "512" || read("cgroup.procs") == "" {
		t.Errorf("memory.max %s, pids.max %s, cgroup.procs %s", read("memory.max"), read("pids.max"), read("cgroup.procs"))
	}
	limits, err := os.ReadFile("/proc/" + read("cgroup.procs") + "/limits")
	if err != nil || !strings.Contains(string(limits), "Max address space         unlimited") {
		t.Errorf("%s, %v", limits, err)
	}
	if err := errors.Join(s.Close(), b.Close()); err != nil {
		t.Error(err)
	}
	if read("cgroup.kill") != "1" {
		t.Error("the rest of the group was not killed")
	}
}
