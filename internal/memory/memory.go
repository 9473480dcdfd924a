// Package memory finds out how much memory this process may use, and keeps Go's
// part of it below that.
//
// What caches and queues take of it is decided by those who have them.
package memory

import (
	"bufio"
	"bytes"
	"math"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

// Limit returns how many bytes the control groups of this process (version 1 or
// 2) let it use, and the file that says so; 0: they do not limit it. The root is
// "/" but in tests.
func Limit(root string) (limit int64, source string) {
	groups, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return 0, "" // not a Linux with control groups
	}
	mounts, err := os.ReadFile(filepath.Join(root, "proc/self/mountinfo"))
	if err != nil {
		return 0, ""
	}
	for _, m := range parseMounts(mounts) {
		own, ok := groupOf(groups, m.version)
		if !ok {
			continue
		}
		for dir := m.below(own); ; dir = path.Dir(dir) {
			file := path.Join(m.point, dir, limitFiles[m.version])
			if n, ok := readLimit(filepath.Join(root, file)); ok && (limit == 0 || n < limit) {
				limit, source = n, file
			}
			if dir == "/" {
				break
			}
		}
	}
	return limit, source
}

var limitFiles = map[int]string{1: "memory.limit_in_bytes", 2: "memory.max"}

// mount is where a hierarchy of control groups can be read.
type mount struct {
	version int
	root    string // the group that is mounted
	point   string // where
}

// below is a group's path below the mount point. In a container the mounted group
// may be the process's own, whose path is that of the host.
func (m mount) below(group string) string {
	if m.root == "/" {
		return path.Clean("/" + group)
	}
	if rest, ok := strings.CutPrefix(group, m.root); ok && (rest == "" || rest[0] == '/') {
		return path.Clean("/" + rest)
	}
	return "/"
}

// parseMounts finds the hierarchies that can limit memory in a mountinfo
// (proc_pid_mountinfo(5)).
func parseMounts(text []byte) []mount {
	var all []mount
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(kind) < 3 {
			continue
		}
		m := mount{root: unescape(fields[3]), point: unescape(fields[4])}
		switch {
		case kind[0] == "cgroup2":
			m.version = 2
		case kind[0] == "cgroup" && hasOption(kind[2], "memory"):
			m.version = 1
		default:
			continue
		}
		all = append(all, m)
	}
	return all
}

// unescape undoes the octal escapes of a mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

func hasOption(options, name string) bool {
	for o := range strings.SplitSeq(options, ",") {
		if o == name {
			return true
		}
	}
	return false
}

// groupOf finds the path of the group that limits memory in a /proc/self/cgroup
// (cgroups(7)).
func groupOf(text []byte, version int) (string, bool) {
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		if (version == 2 && fields[0] == "0" && fields[1] == "") || (version == 1 && hasOption(fields[1], "memory")) {
			return fields[2], true
		}
	}
	return "", false
}

// none is what version 1 says where there is no limit, and less.
const none = math.MaxInt64 / 4096 * 4096 / 2

func readLimit(file string) (int64, bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64) // "max" is none
	return n, err == nil && n > 0 && n < none
}

// KeepGoBelow makes Go's collector work harder as its memory comes near three
// quarters of a limit: libraries and children need the rest. It returns Go's
// limit. One that GOMEMLIMIT has set stays.
func KeepGoBelow(limit int64) int64 {
	if limit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit / 4 * 3)
	}
	return debug.SetMemoryLimit(-1)
}
