package crash

import (
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestCrashesOfOthers: a host that starts leaves the file of one that runs alone.
func TestCrashesOfOthers(t *testing.T) {
	state := t.TempDir()
	f, err := os.Create(filepath.Join(state, "crash-1-other.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	reportCrashes(state, slog.New(slog.DiscardHandler))
	if _, err := os.Stat(f.Name()); err != nil {
		t.Error(err)
	}
}
