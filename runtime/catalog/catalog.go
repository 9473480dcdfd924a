// Package catalog follows a directory of models and reads the files of a version
// into checked bytes. It decides whether a version is settled, decodes its manifest,
// and checks digests.
//
// Other packages decide which versions are loaded, and open them.
package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/pynomaly/pynomaly-runtime/backends"
)

// Catalog follows the models directory.
type Catalog struct {
	Dir    string
	Rescan time.Duration // interval of scans without a notification
	Settle time.Duration // two scans this far apart must agree
	// ConfirmAfter is how long the whole directory must appear emptied or replaced
	// before the catalog believes it; 0 means three times Rescan.
	ConfirmAfter time.Duration
	AllowEmpty   bool // an emptied directory removes all models
	Log          *slog.Logger
	Now          func() time.Time
	Apply        func(ctx context.Context, all []Found) // called after every scan
	Trouble      func(error)                            // called with the error if a scan failed; may be nil

	last    []Found
	root    fs.FileInfo // the directory that last describes
	doubted error       // what doubt has logged
	since   time.Time   // of doubted
	trouble string      // the logged error of the last scan
}

// Follow scans the directory now and after every change, until ctx ends.
func (c *Catalog) Follow(ctx context.Context) error {
	notes := make(chan struct{}, 1)
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		c.Log.Warn("the models directory is looked at from time to time only", "error", err)
	} else {
		var forwarding sync.WaitGroup
		forwarding.Go(func() { forward(watcher, notes) })
		defer func() {
			_ = watcher.Close()
			forwarding.Wait()
		}()
	}
	tick := time.NewTicker(c.Rescan)
	defer tick.Stop()
	for {
		c.report(c.once(ctx, watcher))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-notes:
		case <-tick.C:
		}
	}
}

// report reports a failed scan and logs it once. The directory may come back, like a
// volume that is mounted late, so loaded models keep serving.
func (c *Catalog) report(err error) {
	if err == nil {
		if c.trouble != "" {
			c.trouble = ""
			c.Log.Info("the models directory can be read again", "dir", c.Dir)
		}
		return
	}
	if c.Trouble != nil {
		c.Trouble(err)
	}
	if c.trouble != err.Error() {
		c.trouble = err.Error()
		c.Log.Error("reading the models directory failed", "dir", c.Dir, "error", err)
	}
}

func (c *Catalog) once(ctx context.Context, watcher *fsnotify.Watcher) error {
	root, err := os.OpenRoot(c.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return NoDirectory(fmt.Errorf("the models directory %s is not there: make it, or name another with --models", c.Dir))
	}
	if err != nil {
		return NoDirectory(fmt.Errorf("the models directory cannot be opened: %w", cause(err)))
	}
	defer root.Close()
	return c.look(ctx, root, watcher)
}

// NoDirectory marks an error whose text contains the path of the models directory.
func NoDirectory(err error) error {
	return &backends.PrivateError{Public: "the models directory cannot be read: the host's log says why", Err: err}
}

// look scans the directory repeatedly until every model in it is settled, and
// applies each state.
func (c *Catalog) look(ctx context.Context, root *os.Root, watcher *fsnotify.Watcher) error {
	if watcher != nil {
		c.watch(root, watcher)
	}
	const most = 50 // the next scan handles a model that takes longer to copy
	for range most {
		now, err := Scan(root)
		if err != nil {
			return err
		}
		now, err = c.doubt(root, carry(c.last, now))
		if err != nil {
			return err
		}
		all, settled := agree(c.last, now, c.Now().Add(-c.Settle))
		c.last = now
		c.Apply(ctx, all)
		if settled {
			return nil
		}
		wait := time.NewTimer(c.Settle)
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil
		case <-wait.C:
		}
	}
	return nil
}

// carry adds to a scan what it could not read but an earlier one could: a directory
// that cannot be listed for a moment says nothing about its contents.
func carry(before, now []Found) []Found {
	known := map[string][]Found{}
	for _, f := range before {
		if !f.all {
			known[f.ID] = append(known[f.ID], f)
		}
	}
	var out []Found
	for _, f := range now {
		if f.Err == nil || !backends.Surroundings(f.Err) {
			out = append(out, f)
			continue
		}
		carried := false
		for _, was := range known[f.ID] {
			if f.all || was.Version == f.Version {
				was.Err = f.Err
				out, carried = append(out, was), true
			}
		}
		if !carried {
			out = append(out, f)
		}
	}
	return out
}

// doubt keeps versions that a scan does not show if the whole directory is empty or
// has been replaced, as happens when a volume is unmounted. They are dropped if
// nothing changes for ConfirmAfter. For an empty directory, AllowEmpty must be set,
// too.
func (c *Catalog) doubt(root *os.Root, now []Found) ([]Found, error) {
	info, err := root.Stat(".")
	if err != nil {
		return nil, cause(err)
	}
	empty := false
	if len(now) == 0 {
		names, err := list(root, ".")
		if err != nil {
			return nil, err
		}
		empty = len(names) == 0
	}
	seen := map[string]bool{}
	for _, f := range now {
		seen[f.key()] = true
	}
	var missing []Found
	for _, f := range c.last {
		if !seen[f.key()] {
			missing = append(missing, f)
		}
	}
	moved := c.root != nil && !os.SameFile(c.root, info)
	if len(missing) == 0 || !moved && !empty {
		if c.doubted != nil {
			c.Log.Info("the models directory is whole again", "dir", c.Dir)
		}
		c.root, c.doubted, c.since = info, nil, time.Time{}
		return now, nil
	}
	var reason error
	switch {
	case empty && !c.AllowEmpty:
		reason = fmt.Errorf("%w: the models directory %s has turned empty, as an unmounted volume is; models.allow_empty says that it may be", backends.ErrSurroundings, c.Dir)
	case empty:
		reason = fmt.Errorf("%w: the models directory %s has turned empty, as an unmounted volume is", backends.ErrSurroundings, c.Dir)
	default:
		reason = fmt.Errorf("%w: the models directory %s is another one than before, and lacks this version", backends.ErrSurroundings, c.Dir)
	}
	reason = &backends.PrivateError{Public: "the models directory has changed or turned empty as a whole: the host's log says more", Err: reason}
	if c.since.IsZero() {
		c.since = c.Now()
	}
	if c.Now().Sub(c.since) >= c.confirmAfter() && (!empty || c.AllowEmpty) {
		c.Log.Warn("the models directory has changed for good; the versions that it lacks are removed", "dir", c.Dir, "versions", len(missing))
		c.root, c.doubted, c.since = info, nil, time.Time{}
		return now, nil
	}
	if errText(c.doubted) != reason.Error() {
		c.doubted = reason
		c.Log.Error("the models directory has lost versions, which are kept for now", "dir", c.Dir, "versions", len(missing), "error", reason)
	}
	for _, f := range missing {
		f.Err = reason
		now = append(now, f)
	}
	return now, nil
}

// confirmAfter returns how long a directory must appear emptied or moved before that
// is believed.
func (c *Catalog) confirmAfter() time.Duration {
	if c.ConfirmAfter > 0 {
		return c.ConfirmAfter
	}
	return 3 * c.Rescan
}

// agree marks unsettled models: those that differ from the former scan, unless none
// of their files was written since the given time, and those that are missing for
// the first time. settled says that there are none.
func agree(before, now []Found, since time.Time) (all []Found, settled bool) {
	known := map[string]string{}
	for _, f := range before {
		known[f.key()] = f.Fingerprint + errText(f.Err)
	}
	settled = true
	for _, f := range now {
		if was, ok := known[f.key()]; (!ok || was != f.Fingerprint+errText(f.Err)) && !f.Changed.Before(since) {
			f.Err, settled = ErrUnsettled, false
		}
		delete(known, f.key())
		all = append(all, f)
	}
	for _, f := range before {
		if _, gone := known[f.key()]; gone {
			f.Err, settled = ErrUnsettled, false
			all = append(all, f)
		}
	}
	return all, settled
}

// ErrUnsettled marks a model that is still being written.
var ErrUnsettled = errors.New("is being written")

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// watch requests notifications about the directory and everything in it.
func (c *Catalog) watch(root *os.Root, watcher *fsnotify.Watcher) {
	dirs := []string{"."}
	if ids, err := list(root, "."); err == nil {
		for _, id := range ids {
			versions, err := list(root, id)
			if err != nil {
				continue
			}
			dirs = append(dirs, id)
			for _, v := range versions {
				if info, err := root.Stat(path.Join(id, v)); err == nil && info.IsDir() {
					dirs = append(dirs, path.Join(id, v))
				}
			}
		}
	}
	for _, d := range dirs {
		if err := watcher.Add(filepath.Join(c.Dir, d)); err != nil {
			c.Log.Debug("watching a directory failed; it is looked at from time to time", "dir", d, "error", err)
		}
	}
}

// forward combines events into one pending note at a time, until the watcher is
// closed.
func forward(w *fsnotify.Watcher, notes chan<- struct{}) {
	for {
		select {
		case _, ok := <-w.Events:
			if !ok {
				return
			}
		case _, ok := <-w.Errors:
			if !ok {
				return
			}
		}
		select {
		case notes <- struct{}{}:
		default:
		}
	}
}
