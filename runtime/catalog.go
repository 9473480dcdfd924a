package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// Found is one version of a model in the models directory.
type Found struct {
	Location
	Fingerprint string    // changes when any of its files does
	Changed     time.Time // when a file of it was last written
	Warning     string
	Err         error // why it cannot even be read
}

// maxEntries bounds how many files of one model are looked at.
const maxEntries = 1000

// Scan looks at the models directory, once: <id>/<version>/model.yaml, and bare
// name.onnx, name.wasm and name@1.2.0.onnx. Entries that begin with a dot are
// passed over; links are followed as long as they stay inside root.
func Scan(root *os.Root) ([]Found, error) {
	entries, err := list(root, ".")
	if err != nil {
		return nil, fmt.Errorf("reading the models directory: %w", err)
	}
	seen := map[string]int{}
	var all []Found
	add := func(f Found) {
		at, twice := seen[f.Key()]
		switch {
		case !twice:
			seen[f.Key()] = len(all)
			all = append(all, f)
		case all[at].Err == nil && f.Err != nil && f.Fingerprint == "": // what cannot be read hides nothing
			all[at].Warning = fmt.Sprintf("%s is passed over: %v", f.Path(), f.Err)
		case f.Err == nil && all[at].Err != nil && all[at].Fingerprint == "":
			f.Warning = fmt.Sprintf("%s is passed over: %v", all[at].Path(), all[at].Err)
			all[at] = f
		case f.File == "": // a directory wins over a bare file
			f.Warning = fmt.Sprintf("%s is passed over: the directory %s has the same id and version", all[at].Path(), f.Path())
			all[at] = f
		default:
			all[at].Warning = fmt.Sprintf("%s is passed over: %s has the same id and version", f.Path(), all[at].Path())
		}
	}
	for _, e := range entries {
		info, err := root.Stat(e)
		switch {
		case err != nil:
			if id, version, ok := bareName(e); ok {
				add(Found{Location: Location{ID: id, Version: version, File: e}, Err: cause(err)})
			} else if manifest.ValidID(e) {
				add(Found{Location: Location{ID: e, Version: "0.0.0", Dir: e}, Err: cause(err)})
			}
		case info.IsDir():
			for _, f := range scanVersions(root, e) {
				add(f)
			}
		case info.Mode().IsRegular():
			if id, version, ok := bareName(e); ok {
				add(Found{Location: Location{ID: id, Version: version, File: e}, Fingerprint: fingerprint(e, info), Changed: changed(info)})
			}
		}
	}
	return all, nil
}

// bareName splits name.onnx and name@1.2.0.onnx.
func bareName(file string) (id, version string, ok bool) {
	ext := path.Ext(file)
	if _, known := bareBackends[ext]; !known {
		return "", "", false
	}
	id, version, found := strings.Cut(strings.TrimSuffix(file, ext), "@")
	if !found {
		version = "0.0.0"
	}
	return id, version, manifest.ValidID(id) && manifest.ValidVersion(version)
}

func scanVersions(root *os.Root, id string) []Found {
	if !manifest.ValidID(id) {
		return nil
	}
	entries, err := list(root, id)
	if err != nil {
		return []Found{{Location: Location{ID: id, Version: "0.0.0", Dir: id}, Err: err}}
	}
	var all []Found
	for _, e := range entries {
		dir := path.Join(id, e)
		info, err := root.Stat(dir)
		if err == nil && !info.IsDir() {
			continue
		}
		f := Found{Location: Location{ID: id, Version: strings.ToValidUTF8(e, "\uFFFD"), Dir: dir}} // it becomes a label
		if err == nil {
			f.Changed = changed(info)
		}
		switch {
		case err != nil:
			f.Err = cause(err)
		case !manifest.ValidVersion(e):
			f.Err = fmt.Errorf("the directory %s is not named by a semantic version such as 1.0.0", dir)
		default:
			f.Err = f.scanFiles(root, dir)
		}
		all = append(all, f)
	}
	return all
}

// scanFiles makes the fingerprint of a version's directory.
func (f *Found) scanFiles(root *os.Root, dir string) error {
	var b strings.Builder
	hasManifest := false
	var walk func(dir string, depth int) error
	count := 0
	walk = func(dir string, depth int) error {
		entries, err := list(root, dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if count++; count > maxEntries {
				return fmt.Errorf("%s holds more than %d files", dir, maxEntries)
			}
			name := path.Join(dir, e)
			info, err := root.Stat(name)
			switch {
			case err != nil:
				return cause(err)
			case info.IsDir() && depth < 3:
				if err := walk(name, depth+1); err != nil {
					return err
				}
			case info.Mode().IsRegular():
				hasManifest = hasManifest || (depth == 0 && e == manifest.FileName)
				b.WriteString(fingerprint(name, info))
				if t := changed(info); t.After(f.Changed) {
					f.Changed = t
				}
			}
		}
		return nil
	}
	err := walk(dir, 0)
	f.Fingerprint = b.String()
	if err == nil && !hasManifest {
		return fmt.Errorf("%s has no %s: write one with `pynomaly-runtime model init`", dir, manifest.FileName)
	}
	return err
}

func fingerprint(name string, info fs.FileInfo) string {
	return fmt.Sprintf("%s|%d|%d|%s\n", name, info.Size(), info.ModTime().UnixNano(), inode(info))
}

// list returns the names in a directory, sorted, without those that begin with a
// dot.
func list(root *os.Root, dir string) ([]string, error) {
	f, err := root.Open(dir)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, cause(err)
	}
	kept := names[:0]
	for _, n := range names {
		if !strings.HasPrefix(n, ".") {
			kept = append(kept, n)
		}
	}
	sort.Strings(kept)
	return kept, nil
}

// Catalog follows the models directory.
type Catalog struct {
	Dir    string
	Rescan time.Duration // looks even where nothing is notified
	Settle time.Duration // two looks this far apart must agree
	Log    *slog.Logger
	Now    func() time.Time
	Apply  func(ctx context.Context, all []Found) // told of every look

	last []Found
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
		if err := c.once(ctx, watcher); err != nil {
			// The directory may come back (a volume that is mounted late): what
			// is loaded goes on serving.
			c.Log.Error("reading the models directory failed", "dir", c.Dir, "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-notes:
		case <-tick.C:
		}
	}
}

func (c *Catalog) once(ctx context.Context, watcher *fsnotify.Watcher) error {
	root, err := os.OpenRoot(c.Dir)
	if err != nil {
		return cause(err)
	}
	defer root.Close()
	return c.look(ctx, root, watcher)
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
			f.Err, settled = errUnsettled, false
		}
		delete(known, f.Key())
		all = append(all, f)
	}
	for _, f := range before {
		if _, gone := known[f.Key()]; gone {
			f.Err, settled = errUnsettled, false
			all = append(all, f)
		}
	}
	return all, settled
}

// errUnsettled marks a model that is still being written.
var errUnsettled = errors.New("is being written")

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
