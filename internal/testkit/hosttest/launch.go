package hosttest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// launchEnv holds a launcher as JSON. The test binary started with it becomes the
// program that it names.
const launchEnv = "HOSTTEST_LAUNCH"

// launcher says what a process becomes, and in what surroundings.
type launcher struct {
	Args   []string       // the first is the program
	Limits map[int]uint64 // soft and hard resource limits
	Groups []string       // directories of control groups that it joins
	UID    int            // 0: it stays who it is
}

// launch becomes the program, and returns only if that fails.
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
