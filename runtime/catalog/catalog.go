// Package catalog follows a directory of models and turns the files of a version into
// checked bytes: what is found, whether it is settled, what a manifest says, and whether
// the digests hold.
//
// Which versions are loaded and what is made of their bytes is not here.
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
	Rescan time.Duration // looks even where nothing is notified
	Settle time.Duration // two looks this far apart must agree
	// ConfirmAfter is how long the whole directory must look emptied or replaced
	// before that is believed; 0: three times Rescan.
	ConfirmAfter time.Duration
	AllowEmpty   bool // an emptied directory removes all models
	Log          *slog.Logger
	Now          func() time.Time
	Apply        func(ctx context.Context, all []Found) // told of every look
	Trouble      func(error)                            // told why there was none; nil: nobody is

	last    []Found
	root    fs.FileInfo // the directory that last is of
	doubted error       // what doubt has logged
	since   time.Time   // of doubted
	trouble string      // why the last look failed, as logged
}

// Follow looks at the directory now and then on every change, until ctx ends.
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

// report tells of a look that failed, and logs that once. The directory may come back,
// as a volume does that is mounted late: what is loaded goes on serving.
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

// NoDirectory marks an error that names the models directory.
func NoDirectory(err error) error {
	return &backends.PrivateError{Public: "the models directory cannot be read: the host's log says why", Err: err}
}

// look applies the directory's state, again and again until every model in it is
// settled.
func (c *Catalog) look(ctx context.Context, root *os.Root, watcher *fsnotify.Watcher) error {
	if watcher != nil {
		c.watch(root, watcher)
	}
	const most = 50 // a model that is copied for longer is taken up by the next look
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

// carry adds to a look what it could not read and an earlier one could: a directory
// that cannot be listed for a moment says nothing about what is in it.
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

// doubt keeps versions that a look does not show where the whole directory is
// another one than before, or is empty: that is how an unmounted volume looks. They
// are let go when that is still so ConfirmAfter later, and, where the directory is
// empty, AllowEmpty says that it may be.
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
		seen[f.Key()] = true
	}
	var missing []Found
	for _, f := range c.last {
		if !seen[f.Key()] {
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

// confirmAfter is how long a directory must look emptied or moved before that is
// believed.
func (c *Catalog) confirmAfter() time.Duration {
	if c.ConfirmAfter > 0 {
		return c.ConfirmAfter
	}
	return 3 * c.Rescan
}

// agree marks what is not settled: models that look other than before, unless
// nothing of them was written since the given time, and those that are gone for
// the first time. It reports whether there were none.
func agree(before, now []Found, since time.Time) (all []Found, settled bool) {
	known := map[string]string{}
	for _, f := range before {
		known[f.Key()] = f.Fingerprint + errText(f.Err)
	}
	settled = true
	for _, f := range now {
		if was, ok := known[f.Key()]; (!ok || was != f.Fingerprint+errText(f.Err)) && !f.Changed.Before(since) {
			f.Err, settled = ErrUnsettled, false
		}
		delete(known, f.Key())
		all = append(all, f)
	}
	for _, f := range before {
		if _, gone := known[f.Key()]; gone {
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

// watch asks to be told of changes to the directory and everything in it.
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

// forward turns events into one note at a time, until the watcher is closed.
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
