package registry_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// TestFilesAtOnce checks that concurrent loads hold at most the allowed bytes of
// models' files, and that a larger model is loaded alone.
func TestFilesAtOnce(t *testing.T) {
	const models, size = 6, 1000
	for name, c := range map[string]struct {
		bytes int64
		want  int64 // concurrent loads
	}{"one": {1, 1}, "two": {2*size + size/2, 2}, "all": {models * size, models}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for i := range models {
				id := fmt.Sprintf("m%d", i)
				modeltest.WriteModel(t, dir, id, "1.0.0", modeltest.Simple(id, "1.0.0"))
				modeltest.Check(t, os.WriteFile(filepath.Join(dir, id, "1.0.0", "a"), make([]byte, size), 0o600))
			}
			var mu sync.Mutex
			var begun, running, most int64
			f := modeltest.NewFake()
			f.Before = func(context.Context, *manifest.Manifest) error {
				mu.Lock()
				begun++
				running++
				most = max(most, running)
				mu.Unlock()
				for range 20 { // others that may begin have time to do so
					mu.Lock()
					all := running == c.want && begun == models || most > c.want
					mu.Unlock()
					if all {
						break
					}
					time.Sleep(time.Millisecond)
				}
				mu.Lock()
				running--
				mu.Unlock()
				return nil
			}
			r := modeltest.Follow(t, dir, f, func(cfg *registry.Config) { cfg.Loads, cfg.ReadBytes, cfg.CacheSize = models, c.bytes, models })
			if loaded, _ := r.Counts(); loaded != models || most > c.want {
				t.Errorf("%d are loaded, at most %d at once, want %d", loaded, most, c.want)
			}
		})
	}
}
