// Package modelstore finds versions in a directory of models, and puts versions into it.
package modelstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pynomaly/pynomaly-runtime/internal/atomicfile"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// Store is a directory of models.
type Store struct {
	Dir    string
	Policy catalog.Policy // of whoever opens the models
}

// Find finds the models that a path names, in the directory or elsewhere, as
// runtime.Find does.
func (s Store) Find(path string) ([]Place, error) {
	all, err := Find(path)
	for i := range all {
		all[i].Policy = s.Policy
	}
	return all, err
}

// FindOne is Find for a path that names one version.
func (s Store) FindOne(path string) (Place, error) {
	all, err := s.Find(path)
	if err != nil {
		return Place{}, err
	}
	if all = withoutStrays(all); len(all) != 1 {
		return Place{}, fmt.Errorf("%s holds %d models: name one of them", path, len(all))
	}
	return all[0], nil
}

// Version returns a version of a model in the directory. No version, or latest, is the
// newest one.
func (s Store) Version(id, version string) (Place, error) {
	all, err := s.Find(s.Dir)
	if err != nil {
		return Place{}, err
	}
	p, ok := newest(all, id, version)
	if !ok && version != "" {
		id += "@" + version
	}
	if !ok {
		return p, fmt.Errorf("%w: %s has no %s", registry.ErrModelNotFound, s.Dir, id)
	}
	return p, nil
}

// newest chooses by the rule by which hosts choose: manifest.NewestFirst, of those that
// are no strays where there are any.
func newest(all []Place, id, version string) (_ Place, ok bool) {
	var of []Place
	for _, p := range all {
		if p.ID == id && (version == "" || version == registry.Latest || p.Version == version) {
			of = append(of, p)
		}
	}
	if len(of) == 0 {
		return Place{}, false
	}
	return slices.MinFunc(withoutStrays(of), func(a, b Place) int { return manifest.NewestFirst(a.Version, b.Version) }), true
}

// withoutStrays leaves out what hosts pass over, unless there is nothing else: folders
// that are not named by a version, and those without a model in them.
func withoutStrays(all []Place) []Place {
	if kept := slices.DeleteFunc(slices.Clone(all), Place.stray); len(kept) > 0 {
		return kept
	}
	return all
}

// Versions lists the versions of each model.
func Versions(all []Place) map[string][]string {
	out := map[string][]string{}
	for _, p := range all {
		out[p.ID] = append(out[p.ID], p.Version)
	}
	return out
}

// Resolve returns the version that a command's argument names: a path with a separator or
// a dot in it, or else <id> or <id>@<version> in the directory. A path without either is
// taken where the directory has no such model.
func (s Store) Resolve(name string) (Place, error) {
	_, err := os.Stat(name)
	exists := err == nil
	id, version, _ := strings.Cut(name, "@")
	if isPath := strings.ContainsRune(name, filepath.Separator) || strings.Contains(name, "."); (exists && isPath) || !manifest.ValidID(id) {
		return s.FindOne(name)
	}
	p, err := s.Version(id, version)
	if err != nil && exists {
		return s.FindOne(name)
	}
	return p, err
}

// Names lists what Resolve takes for the models in the directory: <id> and
// <id>@<version>, sorted.
func (s Store) Names() ([]string, error) {
	all, err := s.Find(s.Dir)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range all {
		if !p.stray() {
			out = append(out, p.ID, p.ID+"@"+p.Version)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// Put writes a version and returns its directory, which appears as a whole.
func (s Store) Put(id, version string, files map[string][]byte) (string, error) {
	dir := filepath.Join(s.Dir, id, version)
	err := fs.ErrExist // an empty directory is there as well
	if _, missing := os.Stat(dir); missing != nil {
		err = atomicfile.WriteDir(dir, files)
	}
	if errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("%s exists already: remove it or choose another --version", dir)
	}
	return dir, err
}

// PutChecked is Put of what check finds good, which it is shown on the disk, where no host
// sees it yet. Where it does not, or where anything else fails, nothing is left behind.
func (s Store) PutChecked(id, version string, files map[string][]byte, check func(Place) error) (_ string, err error) {
	dir := filepath.Join(s.Dir, id, version)
	if _, missing := os.Stat(dir); missing == nil {
		return s.Put(id, version, files) // which says so
	}
	above := filepath.Dir(dir)
	made, err := makeDirs(above)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			for _, d := range made {
				_ = os.Remove(d) // unless somebody else has put something into it
			}
		}
	}()
	staging, err := os.MkdirTemp(above, "."+version+"-*") // hosts do not look at names with a dot
	if err != nil {
		return "", fmt.Errorf("making a directory beside %s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(staging)) }()
	staged := filepath.Join(staging, version)
	if err := atomicfile.WriteDir(staged, files); err != nil {
		return "", err
	}
	at, err := s.FindOne(staged)
	if err != nil {
		return "", err
	}
	if err := check(at); err != nil {
		return "", err
	}
	if err = atomicfile.MoveDir(staged, dir); errors.Is(err, fs.ErrExist) {
		err = fmt.Errorf("%s has come into being meanwhile: choose another --version", dir)
	}
	return dir, err
}

// makeDirs makes a directory and those above it, and returns those that were not there, the
// lowest first.
func makeDirs(dir string) (made []string, err error) {
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); err == nil {
			break
		}
		made = append(made, d)
	}
	const mode = 0o755 // whoever serves models may be another user
	if err := os.MkdirAll(dir, mode); err != nil {
		return nil, fmt.Errorf("making %s: %w", dir, err)
	}
	return made, nil
}
