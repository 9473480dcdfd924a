package process

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// LimitsRole and KeeperRole are the first of two arguments of a process that must
// call Main and nothing else.
const (
	LimitsRole = "__process-limits"
	KeeperRole = "__process-keeper"
)

// Main plays a role. The first ends by becoming the plugin, which its argument only
// names; the second's is the host's private directory.
func Main(role, argument string) error {
	if role == KeeperRole {
		return keep(os.Stdin, argument)
	}
	return become(os.NewFile(gateFD, "gate"))
}

// spec says what a process becomes, and with what limits.
type spec struct {
	Parent       int      `json:"parent"` // the host
	Path         string   `json:"path"`   // of the program; empty: binaryFD is
	Args         []string `json:"args"`
	Env          []string `json:"env"`
	Dir          string   `json:"dir"`
	UID          int      `json:"uid"` // -1: stays
	GID          int      `json:"gid"`
	Groups       []int    `json:"groups"`
	AddressSpace uint64   `json:"address_space"` // 0: no limit
	Processes    uint64   `json:"processes"`     // of the user, together; 0: no limit
}

// The file descriptors that the host hands over beside the standard ones.
const (
	gateFD   = 3 // the spec comes when the host knows the process
	binaryFD = 4
)

// maxFiles is how many files a plugin may have open.
const maxFiles = 1024

// become sets the limits of this process and turns it into the plugin.
func become(gate io.ReadCloser) error {
	runtime.LockOSThread() // what prctl sets is the thread's
	var s spec
	text, err := io.ReadAll(gate)
	if err = errors.Join(err, gate.Close()); err != nil {
		return fmt.Errorf("waiting for the host: %w", err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("reading what to start: %w", err)
	}
	limits := map[int]uint64{unix.RLIMIT_CORE: 0, unix.RLIMIT_NOFILE: maxFiles}
	if s.AddressSpace > 0 {
		limits[unix.RLIMIT_AS] = s.AddressSpace
	}
	if s.Processes > 0 {
		limits[unix.RLIMIT_NPROC] = s.Processes
	}
	for which, most := range limits {
		if err := unix.Setrlimit(which, &unix.Rlimit{Cur: most, Max: most}); err != nil {
			return fmt.Errorf("setting a limit: %w", err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("giving privileges up: %w", err)
	}
	if s.UID >= 0 {
		if err := errors.Join(syscall.Setgroups(s.Groups), syscall.Setgid(s.GID), syscall.Setuid(s.UID)); err != nil {
			return fmt.Errorf("becoming user %d: %w", s.UID, err)
		}
	}
	// A change of user has taken it back.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("tying this process to the host: %w", err)
	}
	if os.Getppid() != s.Parent {
		return errors.New("the host is gone")
	}
	unix.Umask(0o077)
	if err := os.Chdir(s.Dir); err != nil {
		return fmt.Errorf("entering the model's directory: %w", err)
	}
	path := s.Path
	if path == "" {
		unix.CloseOnExec(binaryFD)
		path = "/proc/self/fd/" + strconv.Itoa(binaryFD)
	}
	err = syscall.Exec(path, s.Args, s.Env) //nolint:gosec // what the operator has allowed
	// Another plugin of this user may have started too many processes; it is about to
	// be ended for that.
	for n := 0; errors.Is(err, syscall.EAGAIN) && n < 60; n++ {
		time.Sleep(50 * time.Millisecond)
		err = syscall.Exec(path, s.Args, s.Env) //nolint:gosec // the same
	}
	return fmt.Errorf("running %s as user %d: %w", s.Args[0], os.Geteuid(), err)
}

// keep reads which process groups there are, and ends them when the host is gone:
// then in has no more lines, but not the one that says that all is well. It removes
// the host's private directory, too.
func keep(in io.Reader, dir string) error {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP) // it outlives the host, which they are for
	groups := map[int]bool{}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		line := lines.Text()
		pid, err := strconv.Atoi(strings.TrimLeft(line, "+-"))
		switch {
		case line == keeperDone:
			return nil
		case err != nil || pid <= 1:
			return fmt.Errorf("unknown line %.40q", line)
		case line[0] == '+':
			groups[pid] = true
		default:
			delete(groups, pid)
		}
	}
	for pid := range groups {
		_ = syscall.Kill(-pid, syscall.SIGKILL) // it may be gone
	}
	if !strings.HasPrefix(filepath.Base(dir), dirPrefix) {
		return fmt.Errorf("%s is no private directory", dir)
	}
	endGroupsOf(dir)
	var err error
	for range 20 { // the last of them may be writing yet
		if err = removeAll(dir); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

const keeperDone = "done"
