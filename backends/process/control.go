//go:build linux

package process

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// spec is the first thing that the host sends to a supervisor: what it starts, and
// with what limits. Nothing follows; the end of what the host sends means that the
// plugin shall end.
type spec struct {
	Path         string   `json:"path"` // of the program; empty: binaryFD is
	Args         []string `json:"args"`
	Env          []string `json:"env"`
	Dir          string   `json:"dir"`
	UID          int      `json:"uid"` // -1: stays
	GID          int      `json:"gid"`
	Groups       []int    `json:"groups"`
	AddressSpace uint64   `json:"address_space"` // bytes; 0: no limit
	Memory       int64    `json:"memory"`        // bytes that it and its descendants may hold
	Processes    uint64   `json:"processes"`     // that it and its descendants may be, threads among them
}

// report is a line that a supervisor sends to the host. One of the fields is set, and Bound with Cause.
type report struct {
	Self   int    `json:"self,omitempty"`   // the supervisor's process id
	PID    int    `json:"pid,omitempty"`    // the plugin's process id
	Memory int64  `json:"memory,omitempty"` // bytes that the plugin and its descendants hold
	Cause  string `json:"cause,omitempty"`  // why the plugin ends, or was not started; the first one counts
	Bound  bool   `json:"bound,omitempty"`  // with Cause: the plugin has passed one of the host's bounds
	Over   bool   `json:"over,omitempty"`   // nothing of the plugin is left
}

// maxReport bounds a line.
const maxReport = 16 << 10

// reports calls f for each report that comes, until f returns false or there are no
// more.
func reports(from io.Reader, f func(report) bool) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, maxReport)
	for lines.Scan() {
		var r report
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return fmt.Errorf("reading what a supervisor says: %w", err)
		}
		if !f(r) {
			return nil
		}
	}
	return lines.Err()
}

// send writes a report.
func (r report) send(to io.Writer) error {
	line, err := json.Marshal(r)
	if err == nil {
		_, err = to.Write(append(line, '\n'))
	}
	return err
}

// The keeper is asked for one thing at a time, each in a packet of its own.
const (
	keeperStart = "start " // and a name; with the descriptors that a supervisor takes
	keeperDone  = "done"   // the host is closing, and nothing is left to end
	maxName     = 256
)

var errRequest = errors.New("the keeper does not know this request")

// parseRequest reads a packet that came with a number of descriptors.
func parseRequest(packet []byte, descriptors int) (name string, done bool, err error) {
	text, start := bytes.CutPrefix(packet, []byte(keeperStart))
	switch {
	case string(packet) == keeperDone && descriptors == 0:
		return "", true, nil
	case start && len(text) <= maxName && bytes.IndexByte(text, 0) < 0 && (descriptors == 3 || descriptors == 4):
		return string(text), false, nil
	}
	return "", false, fmt.Errorf("%w: %.40q", errRequest, packet)
}

// socketPair makes two ends of a connection of a type: the first is for this process,
// the second for a child.
func socketPair(kind int) (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("making a socket pair: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "theirs")
	mine, err := asConn(os.NewFile(uintptr(fds[0]), "mine"))
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return mine, theirs, nil
}

// asConn makes a connection of a socket, which it takes over.
func asConn(f *os.File) (*net.UnixConn, error) {
	c, err := net.FileConn(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("opening a socket: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.New("it is not a unix socket"), c.Close())
	}
	return u, nil
}
