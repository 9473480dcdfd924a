package catalog

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"
	"time"

	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// Found is one version of a model in the models directory.
type Found struct {
	Location
	Fingerprint string    // changes with any of its files
	Changed     time.Time // when one of its files was last written
	Warning     string
	Err         error // why it cannot be read
	// Stray marks a file or directory that looks like a model and is not served
	// because of its name or place. Its id is its path, which no model has. Err says
	// what would do.
	Stray bool

	all bool // Err is about a model's directory that cannot be listed, and so about all its versions
}

// maxEntries is the largest number of files of one model.
const maxEntries = 1000

// key returns what tells a find from all others of a scan.
func (f *Found) key() string {
	if f.Stray {
		return "/" + f.Path() // no id has a slash
	}
	return f.Key()
}

// Scan scans the models directory once: <id>/<version>/model.yaml, and bare
// name.onnx, name.wasm and name@1.2.0.onnx. It skips entries that begin with a dot,
// and follows links that stay inside root. Strays come last.
func Scan(root *os.Root) ([]Found, error) {
	entries, err := list(root, ".")
	if err != nil {
		return nil, fmt.Errorf("reading the models directory: %w", err)
	}
	seen := map[string]int{}
	var all, strays []Found
	add := func(f Found) {
		at, twice := seen[f.Key()]
		switch {
		case f.Stray:
			strays = append(strays, f)
		case !twice:
			seen[f.Key()] = len(all)
			all = append(all, f)
		case all[at].Err == nil && f.Err != nil && f.Fingerprint == "": // an unreadable version hides none
			all[at].Warning = fmt.Sprintf("%s is passed over: %v", f.Path(), f.Err)
		case f.Err == nil && all[at].Err != nil && all[at].Fingerprint == "":
			f.Warning = fmt.Sprintf("%s is passed over: %v", all[at].Path(), all[at].Err)
			all[at] = f
		case f.File == "": // a directory takes precedence over a bare file
			f.Warning = fmt.Sprintf("%s is passed over: the directory %s has the same id and version", all[at].Path(), f.Path())
			all[at] = f
		default:
			all[at].Warning = fmt.Sprintf("%s is passed over: %s has the same id and version", f.Path(), all[at].Path())
		}
	}
	for _, e := range entries {
		info, err := root.Stat(e)
		switch {
		case err != nil && vanished(root, e):
		case err != nil:
			if id, version, ok := BareName(e); ok {
				add(Found{Location: Location{ID: id, Version: version, File: e}, Err: cause(err)})
			} else if manifest.ValidID(e) {
				add(Found{Location: Location{ID: e, Version: "0.0.0", Dir: e}, Err: cause(err), all: true})
			}
		case info.IsDir():
			if !manifest.ValidID(e) {
				strays = append(strays, strayDir(root, e, info)...)
			}
			for _, f := range ScanVersions(root, e) {
				add(f)
			}
		case info.Mode().IsRegular():
			if id, version, ok := BareName(e); ok {
				add(Found{Location: Location{ID: id, Version: version, File: e}, Fingerprint: fingerprint(e, info), Changed: changed(info)})
			} else if why := misnamed(e); why != "" {
				add(stray(e, info, why))
			}
		}
	}
	return append(all, bounded(strays)...), nil
}

// BareName splits name.onnx and name@1.2.0.onnx.
func BareName(file string) (id, version string, ok bool) {
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

// ScanVersions scans the directory of one model once.
func ScanVersions(root *os.Root, id string) []Found {
	if !manifest.ValidID(id) {
		return nil
	}
	entries, err := list(root, id)
	if err != nil && vanished(root, id) {
		return nil
	}
	if err != nil {
		return []Found{{Location: Location{ID: id, Version: "0.0.0", Dir: id}, Err: err, all: true}}
	}
	var all []Found
	for _, e := range entries {
		dir := path.Join(id, e)
		info, err := root.Stat(dir)
		if (err == nil && !info.IsDir()) || (err != nil && vanished(root, dir)) {
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
			f.Err = fmt.Errorf("the directory %s is not named by a semantic version such as %s", dir, cmp.Or(completeVersion(e), "1.0.0"))
		default:
			f.Err = f.scanFiles(root, dir)
		}
		all = append(all, f)
	}
	return append(all, strayFile(root, id, entries, len(all) == 0)...)
}

// Look returns the present fingerprint of one version.
func Look(root *os.Root, at Location) (string, error) {
	if at.File != "" {
		info, err := root.Stat(at.File)
		if err != nil {
			return "", cause(err)
		}
		return fingerprint(at.File, info), nil
	}
	var f Found
	err := f.scanFiles(root, at.Dir)
	return f.Fingerprint, err
}

// scanFiles computes the fingerprint of a version's directory.
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
			case err != nil && vanished(root, name):
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

// vanished reports whether a listed name is gone by now. A link with a missing
// target is not gone.
func vanished(root *os.Root, name string) bool {
	_, err := root.Lstat(name)
	return errors.Is(err, fs.ErrNotExist)
}

func fingerprint(name string, info fs.FileInfo) string {
	return fmt.Sprintf("%s|%d|%d|%s\n", name, info.Size(), info.ModTime().UnixNano(), inode(info))
}

// list returns the sorted names in a directory, without those that begin with a dot.
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
