package crash

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestCrashesOfOthers checks that a host that starts does not touch a running host's
// file, and does not block on somebody else's pipe.
func TestCrashesOfOthers(t *testing.T) {
	state := t.TempDir()
	f, err := os.Create(filepath.Join(state, "crash-1-other.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_EX), syscall.Mkfifo(filepath.Join(state, "crash-2-other.log"), 0o600)); err != nil {
		t.Fatal(err)
	}
	reportCrashes(state, slog.New(slog.DiscardHandler))
	if _, err := os.Stat(f.Name()); err != nil {
		t.Error(err)
	}
}
