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

// spec is the only message from the host to a supervisor: what to start, with which
// limits. When the host closes its side, the supervisor must end the plugin.
type spec struct {
	Path         string   `json:"path"` // of the program; empty: run binaryFD
	Args         []string `json:"args"`
	Env          []string `json:"env"`
	Dir          string   `json:"dir"`
	UID          int      `json:"uid"` // -1: keep the user
	GID          int      `json:"gid"`
	Groups       []int    `json:"groups"`
	AddressSpace uint64   `json:"address_space"` // bytes; 0: no limit
	Memory       int64    `json:"memory"`        // limit in bytes, descendants included
	Processes    uint64   `json:"processes"`     // limit, descendants and threads included
}

// report is a line from a supervisor to the host. One field is set; Bound only with
// Cause.
type report struct {
	Self   int    `json:"self,omitempty"`   // the supervisor's process id
	PID    int    `json:"pid,omitempty"`    // the plugin's process id
	Memory int64  `json:"memory,omitempty"` // bytes that the plugin and its descendants hold
	Cause  string `json:"cause,omitempty"`  // why the plugin ends or was not started; the host uses the first one
	Bound  bool   `json:"bound,omitempty"`  // with Cause: the plugin exceeded a limit
	Over   bool   `json:"over,omitempty"`   // no process of the plugin is left
}

// maxReport is the largest length of a line.
const maxReport = 16 << 10

// reports calls f for each report until f returns false or the reports end.
func reports(from io.Reader, f func(report) bool) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, maxReport)
	for lines.Scan() {
		var r report
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return fmt.Errorf("reading a report of a supervisor: %w", err)
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

// Requests to the keeper. Each is a packet.
const (
	keeperStart = "start " // followed by a name; carries the supervisor's file descriptors
	keeperDone  = "done"   // the host is closing and has ended everything
	maxName     = 256
)

var errRequest = errors.New("unknown request")

// parseRequest reads a packet that came with the given number of descriptors.
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

// socketPair makes a connection of the given socket type. The first end is for this
// process, the second for a child.
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

// asConn makes a connection from a socket and closes f.
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
