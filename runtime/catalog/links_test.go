package catalog_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
)

func TestLinks(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	modeltest.WriteModel(t, outside, "secret", "1.0.0", modeltest.Simple("secret", "1.0.0"))
	modeltest.WriteModel(t, dir, "..data-v1", "1.0.0", modeltest.Simple("inside", "1.0.0"))
	for link, to := range map[string]string{"..data": "..data-v1", "inside": "..data", "secret": filepath.Join(outside, "secret"), "up": "../" + filepath.Base(outside) + "/secret"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	r := modeltest.Follow(t, dir, modeltest.NewFake(), nil)
	modeltest.VersionOf(t, r, "inside", "", "")
	for _, id := range []string{"secret", "up"} {
		_, err := r.Acquire(t.Context(), id, "", "")
		if !errors.Is(err, batching.ErrUnavailable) || !strings.Contains(err.Error(), "outside") {
			t.Errorf("%s: %v", id, err)
		}
	}
	all, err := r.List("")
	if err != nil || len(all) != 3 {
		t.Errorf("%d models listed, %v", len(all), err)
	}
	// Kubernetes replaces the ..data link.
	modeltest.WriteModel(t, dir, "..data-v2", "1.0.0", strings.Replace(modeltest.Simple("inside", "1.0.0"), "threshold: 1", "threshold: 9", 1))
	tmp := filepath.Join(dir, "..data-new")
	if err := errors.Join(os.Symlink("..data-v2", tmp), os.Rename(tmp, filepath.Join(dir, "..data"))); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the new target is served", func() bool {
		l, err := r.Acquire(t.Context(), "inside", "", "")
		if err != nil {
			return false
		}
		defer l.Release()
		threshold, _ := l.Model().Threshold()
		return threshold == 9
	})
}
