package hosttest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// Place holds the directories of a host. A later host may use them again.
type Place struct {
	Root, Models, State, Tmp string
}

// NewPlace makes a place that the test's cleanup removes.
func NewPlace(t *testing.T) Place {
	t.Helper()
	root, err := os.MkdirTemp("", "pynomaly-test-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { testkit.Eventually(t, root+" is removed", func() bool { return os.RemoveAll(root) == nil }) })
	p := Place{Root: root, Models: filepath.Join(root, "models"), State: filepath.Join(root, "state"), Tmp: filepath.Join(root, "tmp")}
	for _, dir := range []string{root, p.Models, p.State, p.Tmp} {
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// Own gives everything below the place to a user.
func (p Place) Own(t *testing.T, uid int) {
	t.Helper()
	if err := filepath.WalkDir(p.Root, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, uid, uid))
	}); err != nil {
		t.Fatal(err)
	}
}
