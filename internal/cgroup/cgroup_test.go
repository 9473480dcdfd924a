package cgroup_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/cgroup"
)

// tree writes files below a directory.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const (
	mountV1 = "30 25 0:27 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
	mountV2 = "31 25 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	other   = "22 1 8:1 / / rw,relatime - ext4 /dev/root rw\n23 22 0:5 / /proc rw - proc proc rw\nshort\n"
)

func TestMemory(t *testing.T) {
	for _, c := range []struct {
		name   string
		files  map[string]string
		want   int64
		source string
	}{
		{"nothing", nil, 0, ""},
		{"no memory controller", map[string]string{"proc/self/cgroup": "3:cpu:/a\n", "proc/self/mountinfo": other}, 0, ""},
		{"version 2", map[string]string{
			"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": other + mountV2, "sys/fs/cgroup/a/b/memory.max": "1073741824\n",
		}, 1 << 30, "/sys/fs/cgroup/a/b/memory.max"},
		{"version 2, max", map[string]string{
			"proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": mountV2, "sys/fs/cgroup/a/memory.max": "max\n",
		}, 0, ""},
		{"a parent limits more", map[string]string{
			"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": mountV2,
			"sys/fs/cgroup/a/b/memory.max": "4096000\n", "sys/fs/cgroup/a/memory.max": "1024000\n",
		}, 1024000, "/sys/fs/cgroup/a/memory.max"},
		{"version 1", map[string]string{
			"proc/self/cgroup": "4:memory:/x\n0::/\n", "proc/self/mountinfo": mountV1 + mountV2, "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "536870912\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, 512 << 20, "/sys/fs/cgroup/memory/x/memory.limit_in_bytes"},
		{"a container's own group", map[string]string{
			"proc/self/cgroup": "4:cpu,memory:/docker/abc\n", "proc/self/mountinfo": "30 25 0:27 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,cpu,memory\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "268435456\n",
		}, 256 << 20, "/sys/fs/cgroup/memory/memory.limit_in_bytes"},
		{"a space in the path", map[string]string{
			"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": `31 25 0:28 / /my\040groups rw - cgroup2 cgroup2 rw` + "\n", "my groups/memory.max": "1048576",
		}, 1 << 20, "/my groups/memory.max"},
		{"nonsense", map[string]string{
			"proc/self/cgroup": "::\n0::\n4:memory\n", "proc/self/mountinfo": mountV2 + " - - - \n", "sys/fs/cgroup/memory.max": "-5",
		}, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, source := cgroup.Memory(tree(t, c.files)); got != c.want || source != c.source {
				t.Errorf("%d by %q, want %d by %q", got, source, c.want, c.source)
			}
		})
	}
}

func FuzzMemory(f *testing.F) {
	f.Add("0::/a/b\n", mountV2+other, "1024")
	f.Add("4:memory:/../..\n", mountV1, "max")
	f.Add("4:memory:\n", "30 25 0:27 /a/../.. / rw - cgroup c memory\n", "9")
	f.Fuzz(func(t *testing.T, groups, mounts, limit string) {
		root := tree(t, map[string]string{"proc/self/cgroup": groups, "proc/self/mountinfo": mounts, "sys/fs/cgroup/memory.max": limit})
		if n, source := cgroup.Memory(root); n < 0 || (n == 0) != (source == "") {
			t.Errorf("%d by %q", n, source)
		}
	})
}

func TestTasks(t *testing.T) {
	for _, c := range []struct {
		name        string
		files       map[string]string
		limit, used int64
	}{
		{"nothing", nil, 0, 0},
		{"version 2", map[string]string{
			"proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": mountV2, "sys/fs/cgroup/a/pids.max": "100\n", "sys/fs/cgroup/a/pids.current": "12\n",
		}, 100, 12},
		{"version 1", map[string]string{
			"proc/self/cgroup": "7:pids:/x\n", "proc/self/mountinfo": "30 25 0:27 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n",
			"sys/fs/cgroup/pids/x/pids.max": "40\n", "sys/fs/cgroup/pids/x/pids.current": "39\n",
		}, 40, 39},
		{"no limit", map[string]string{
			"proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": mountV2, "sys/fs/cgroup/a/pids.max": "max\n", "sys/fs/cgroup/a/pids.current": "12\n",
		}, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if limit, used := cgroup.Tasks(tree(t, c.files)); limit != c.limit || used != c.used {
				t.Errorf("%d of %d, want %d of %d", used, limit, c.used, c.limit)
			}
		})
	}
}
