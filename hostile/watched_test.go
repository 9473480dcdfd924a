package hostile

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestWatches checks that the watchers of the corpus notice files that are opened
// and read.
func TestWatches(t *testing.T) {
	dir := t.TempDir()
	opened, read, unread, needed := filepath.Join(dir, "opened"), filepath.Join(dir, "read"), filepath.Join(dir, "unread"), filepath.Join(dir, "needed", "file")
	check(t, os.Mkdir(filepath.Dir(needed), 0o750))
	for _, file := range []string{opened, read, unread, needed} {
		write(t, file, "x")
	}
	s := watchSentinels(t, []string{opened}, []string{read, unread})
	all := watchOpenings(t)
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", `: < "$0"; cat "$1"; : < "$2"; cat "$3"`, opened, read, unread, needed).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := s.touched(t); got[opened] != "opened" || got[read] != "read" || got[unread] != "" {
		t.Errorf("%v", got)
	}
	if all == nil {
		t.Log("only root can watch all that is opened")
		return
	}
	testkit.Eventually(t, "the openings are seen", func() bool {
		others := all.others([]string{filepath.Dir(needed)})
		return slices.Contains(others, opened) && slices.Contains(others, read) && !slices.Contains(others, needed)
	})
}
