package hostile

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// outgoing returns the connections that a process has made: its sockets that neither
// use one of its own ports nor stay on this machine, as "tcp <local> <remote>" in
// hexadecimal.
func outgoing(t *testing.T, pid int, port string) []string {
	t.Helper()
	own, err := strconv.Atoi(port)
	check(t, err)
	inodes := map[string]bool{}
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	check(t, err)
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil { // otherwise it was closed meanwhile
			inodes[strings.TrimSuffix(strings.TrimPrefix(to, "socket:["), "]")] = true
		}
	}
	var out []string
	for _, kind := range []string{"tcp", "tcp6", "udp", "udp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, kind))
		check(t, err)
		for line := range strings.Lines(string(text)) {
			const local, remote, inode = 1, 2, 9
			f := strings.Fields(line)
			if len(f) > inode && inodes[f[inode]] && !strings.HasSuffix(f[local], fmt.Sprintf(":%04X", own)) {
				out = append(out, strings.Join([]string{kind, f[local], f[remote]}, " "))
			}
		}
	}
	return out
}

// TestOutgoing checks that outgoing returns a connection that this process makes,
// and not the listener.
func TestOutgoing(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	before := outgoing(t, os.Getpid(), port) // of other tests
	c, err := net.Dial("tcp", ln.Addr().String())
	check(t, err)
	defer c.Close()
	other := fmt.Sprintf(":%04X", c.LocalAddr().(*net.TCPAddr).Port)
	got := outgoing(t, os.Getpid(), port)
	if !slices.ContainsFunc(got, func(line string) bool { return strings.Contains(line, other+" ") }) || len(got) > len(before)+1 {
		t.Errorf("a connection from %s is seen as %q, before %q", c.LocalAddr(), got, before)
	}
}
