// Package modelstore finds versions of models in a directory of models, and adds
// versions to it.
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

// Find returns the models that a path names, in the directory or elsewhere, like the
// function Find.
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

// Version returns a version of a model in the directory. An empty version, or
// latest, means the newest.
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

// newest chooses the version by the rule of hosts, manifest.NewestFirst. It ignores
// strays unless there is nothing else.
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

// withoutStrays drops what hosts ignore, unless there is nothing else: folders whose
// name is not a version, and folders without a model.
func withoutStrays(all []Place) []Place {
	if kept := slices.DeleteFunc(slices.Clone(all), Place.stray); len(kept) > 0 {
		return kept
	}
	return all
}

// Versions returns the versions of each model.
func Versions(all []Place) map[string][]string {
	out := map[string][]string{}
	for _, p := range all {
		if p.Stray {
			continue
		}
		out[p.ID] = append(out[p.ID], p.Version)
	}
	return out
}

// Resolve returns the version that a command's argument names: a path with a
// separator or a dot in it, or else <id> or <id>@<version> in the directory. A path
// without either is tried if the directory has no such model.
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

// Names returns the names that Resolve accepts for the models in the directory: <id>
// and <id>@<version>, sorted.
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

// Put writes a version and returns its directory, which appears complete.
func (s Store) Put(id, version string, files map[string][]byte) (string, error) {
	dir := filepath.Join(s.Dir, id, version)
	err := fs.ErrExist // also if the directory is empty
	if _, missing := os.Stat(dir); missing != nil {
		err = atomicfile.WriteDir(dir, files)
	}
	if errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("%s exists already: remove it or choose another --version", dir)
	}
	return dir, err
}

// PutChecked is Put for files that check accepts. check sees them on the disk, where
// no host sees them yet. If check or anything else fails, PutChecked leaves nothing
// behind.
func (s Store) PutChecked(id, version string, files map[string][]byte, check func(Place) error) (_ string, err error) {
	dir := filepath.Join(s.Dir, id, version)
	if _, missing := os.Stat(dir); missing == nil {
		return s.Put(id, version, files) // which reports it
	}
	above := filepath.Dir(dir)
	made, err := makeDirs(above)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			for _, d := range made {
				_ = os.Remove(d) // fails if somebody else has put something into it
			}
		}
	}()
	staging, err := os.MkdirTemp(above, "."+version+"-*") // hosts ignore names that begin with a dot
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
		err = fmt.Errorf("%s was created meanwhile: choose another --version", dir)
	}
	return dir, err
}

// makeDirs makes a directory and its missing parents, and returns those that it
// made, the lowest first.
func makeDirs(dir string) (made []string, err error) {
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); err == nil {
			break
		}
		made = append(made, d)
	}
	const mode = 0o755 // another user may serve the models
	if err := os.MkdirAll(dir, mode); err != nil {
		return nil, fmt.Errorf("making %s: %w", dir, err)
	}
	return made, nil
}
