// Package cgroup reads the limits that control groups set for this process.
//
// Its callers decide what to do about a limit.
package cgroup

import (
	"bufio"
	"bytes"
	"math"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// Memory returns how many bytes the control groups (version 1 or 2) let this process
// use, and the file that says so. It returns 0 if there is no limit. root is "/"
// except in tests.
func Memory(root string) (limit int64, source string) {
	return lowest(root, "memory", map[int]string{1: "memory.limit_in_bytes", 2: "memory.max"})
}

// Tasks returns how many processes and threads the control groups allow, and how
// many exist in the group with the lowest limit. It returns 0 if there is no limit.
func Tasks(root string) (limit, used int64) {
	limit, source := lowest(root, "pids", map[int]string{1: "pids.max", 2: "pids.max"})
	if source != "" {
		used, _ = readLimit(filepath.Join(root, path.Dir(source), "pids.current"))
	}
	return limit, used
}

// lowest returns the lowest limit in a controller's files for the group of this
// process and its parents, and the file.
func lowest(root, controller string, files map[int]string) (limit int64, source string) {
	groups, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return 0, "" // not a Linux with control groups
	}
	mounts, err := os.ReadFile(filepath.Join(root, "proc/self/mountinfo"))
	if err != nil {
		return 0, ""
	}
	for _, m := range parseMounts(mounts, controller) {
		own, ok := groupOf(groups, m.version, controller)
		if !ok {
			continue
		}
		for dir := m.below(own); ; dir = path.Dir(dir) {
			file := path.Join(m.point, dir, files[m.version])
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

// mount is a mounted hierarchy of control groups.
type mount struct {
	version int
	root    string // the mounted group
	point   string // the mount point
}

// below returns a group's path below the mount point. In a container the mounted
// group may be the process's own, whose path is that of the host.
func (m mount) below(group string) string {
	if m.root == "/" {
		return path.Clean("/" + group)
	}
	if rest, ok := strings.CutPrefix(group, m.root); ok && (rest == "" || rest[0] == '/') {
		return path.Clean("/" + rest)
	}
	return "/"
}

// parseMounts returns the hierarchies of a mountinfo (proc_pid_mountinfo(5)) that
// can have a controller.
func parseMounts(text []byte, controller string) []mount {
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
		case kind[0] == "cgroup" && hasOption(kind[2], controller):
			m.version = 1
		default:
			continue
		}
		all = append(all, m)
	}
	return all
}

// unescape decodes the octal escapes of a mountinfo.
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

// groupOf returns the path of the group that a controller uses, from a
// /proc/self/cgroup (cgroups(7)).
func groupOf(text []byte, version int, controller string) (string, bool) {
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		if (version == 2 && fields[0] == "0" && fields[1] == "") || (version == 1 && hasOption(fields[1], controller)) {
			return fields[2], true
		}
	}
	return "", false
}

// none is below the number that version 1 shows if there is no limit, and above any
// real limit.
const none = math.MaxInt64 / 4096 * 4096 / 2

func readLimit(file string) (int64, bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64) // "max" is none
	return n, err == nil && n > 0 && n < none
}
