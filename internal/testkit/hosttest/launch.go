package hosttest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// launchEnv names the variable with a launcher as JSON. A test binary started with
// it becomes the launcher's program.
const launchEnv = "HOSTTEST_LAUNCH"

// launcher says what a process becomes, with which limits, groups and user.
type launcher struct {
	Args   []string       // the first one is the program
	Limits map[int]uint64 // soft and hard resource limits
	Groups []string       // directories of control groups to join
	UID    int            // 0: keep the user
}

// launch becomes the program. It returns only an error.
func launch(text string) error {
	var l launcher
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return fmt.Errorf("reading what to start: %w", err)
	}
	for _, dir := range l.Groups {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
			return fmt.Errorf("joining a control group: %w", err)
		}
	}
	for which, most := range l.Limits {
		if err := unix.Setrlimit(which, &unix.Rlimit{Cur: most, Max: most}); err != nil {
			return fmt.Errorf("setting resource limit %d: %w", which, err)
		}
	}
	if l.UID != 0 {
		if err := syscall.Setgroups(nil); err != nil {
			return fmt.Errorf("leaving groups: %w", err)
		}
		if err := syscall.Setgid(l.UID); err != nil {
			return fmt.Errorf("becoming group %d: %w", l.UID, err)
		}
		if err := syscall.Setuid(l.UID); err != nil {
			return fmt.Errorf("becoming user %d: %w", l.UID, err)
		}
	}
	if err := os.Unsetenv(launchEnv); err != nil {
		return fmt.Errorf("clearing the environment: %w", err)
	}
	return fmt.Errorf("starting %s: %w", l.Args[0], syscall.Exec(l.Args[0], l.Args, os.Environ()))
}
