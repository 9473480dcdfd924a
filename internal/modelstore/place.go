package modelstore

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// Place is a model on disk: a location below a directory.
type Place struct {
	Dir string // the models directory, or the parent of a single model
	catalog.Location
	Err    error          // why it cannot be read, if Find found that
	Stray  bool           // as in catalog.Found
	Policy catalog.Policy // of whoever opens it
}

// Find returns the models that a path names: a directory with a model.yaml, a bare
// .onnx or .wasm file, the directory of a model's versions, or a directory of
// models.
func Find(path string) ([]Place, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("looking for a model: %w", err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("looking for a model: %w", err)
	}
	parent, name := filepath.Split(abs)
	if !info.IsDir() {
		id, version, ok := catalog.BareName(name)
		if !ok {
			if filepath.Base(name) == manifest.FileName {
				return Find(filepath.Dir(path))
			}
			if why := catalog.Misnamed(name); why != nil {
				return nil, why
			}
			return nil, fmt.Errorf("%s is not a model: name a directory with a %s, or a file such as name.onnx or name@1.2.0.onnx", path, manifest.FileName)
		}
		return []Place{{Dir: parent, Location: catalog.Location{ID: id, Version: version, File: name}}}, nil
	}
	if _, err := os.Stat(filepath.Join(abs, manifest.FileName)); err == nil {
		return []Place{{Dir: parent, Location: catalog.Location{Dir: name}}}, nil
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, fmt.Errorf("opening the models directory: %w", err)
	}
	defer root.Close()
	found, err := catalog.Scan(root)
	if err != nil {
		return nil, err
	}
	all, models := places(abs, found)
	if models == 0 && manifest.ValidID(name) { // the directory of one model
		above, err := os.OpenRoot(parent)
		if err != nil {
			return nil, fmt.Errorf("opening the models directory: %w", err)
		}
		defer above.Close()
		if own, versions := places(parent, catalog.ScanVersions(above, name)); versions > 0 {
			all = own
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s holds no model", path)
	}
	return all, nil
}

// places returns the places of a scan of dir, and how many of them are no strays.
func places(dir string, found []catalog.Found) (all []Place, models int) {
	for _, f := range found {
		all = append(all, Place{Dir: dir, Location: f.Location, Err: f.Err, Stray: f.Stray})
		if !f.Stray {
			models++
		}
	}
	return all, models
}

// stray reports whether there is no model here, and cannot be without a change. A
// place that cannot be read at the moment is not a stray.
func (p Place) stray() bool {
	return p.Version != "" && !manifest.ValidVersion(p.Version) || p.Err != nil && !backends.Surroundings(p.Err)
}

// read reads all of a model's files.
func (p Place) read() (*catalog.Contents, error) {
	if p.Err != nil {
		return nil, p.Err
	}
	root, err := os.OpenRoot(p.Dir)
	if err != nil {
		return nil, fmt.Errorf("opening the models directory: %w", err)
	}
	defer root.Close()
	return catalog.Read(root, p.Location, p.Policy, nil)
}

// Open opens a model outside a registry. Close it only when no call runs.
func (p Place) Open(ctx context.Context, with model.Backends, calls *batching.Calls) (*model.Model, error) {
	return p.open(ctx, with, calls, nil)
}

// OpenWith is Open with a change of the manifest.
func (p Place) OpenWith(ctx context.Context, with model.Backends, calls *batching.Calls, change func(*manifest.Manifest)) (*model.Model, error) {
	return p.open(ctx, with, calls, change)
}

func (p Place) open(ctx context.Context, with model.Backends, calls *batching.Calls, change func(*manifest.Manifest)) (*model.Model, error) {
	c, err := p.read()
	if err != nil {
		return nil, err
	}
	if change != nil {
		m := c.Manifest.Clone()
		change(m)
		c = c.WithManifest(m)
	}
	return model.Open(ctx, c, with, calls)
}

// Inspect reads a model's manifest and lets its backend complete it, without loading
// the model.
func (p Place) Inspect(ctx context.Context, with model.Backends) (*manifest.Manifest, string, error) {
	return p.InspectWith(ctx, with, nil)
}

// InspectWith is Inspect with a change of the manifest.
func (p Place) InspectWith(ctx context.Context, with model.Backends, change func(*manifest.Manifest)) (*manifest.Manifest, string, error) {
	c, err := p.read()
	if err != nil {
		return nil, "", err
	}
	if change != nil {
		m := c.Manifest.Clone()
		change(m)
		c = c.WithManifest(m)
	}
	backend, ok := with[c.Manifest.Backend]
	if !ok {
		return c.Manifest, c.Digest, nil
	}
	done, err := c.Inspect(ctx, backend)
	if err != nil {
		return c.Manifest, c.Digest, err
	}
	return done.Manifest, c.Digest, nil
}

// ContentDigest returns the digest of all the model's files, like
// Model.ContentDigest.
func (p Place) ContentDigest() (string, error) {
	c, err := p.read()
	if err != nil {
		return "", err
	}
	return c.ContentDigest(), nil
}

// Contents holds a model's files by their names below its directory.
type Contents struct {
	ID, Version string
	Digest      string // like Model.ContentDigest
	Files       map[string][]byte
}

// Contents reads all of the model's files.
func (p Place) Contents() (*Contents, error) {
	if p.Err == nil && p.File != "" {
		return nil, fmt.Errorf("%s has no %s: write one with `model init`", p.File, manifest.FileName)
	}
	c, err := p.read()
	if err != nil {
		return nil, err
	}
	out := &Contents{ID: c.Manifest.ID, Version: c.Manifest.Version, Digest: c.ContentDigest(), Files: map[string][]byte{manifest.FileName: c.Raw}}
	maps.Copy(out.Files, c.Files)
	if c.Manifest.Artifact != "" {
		out.Files[c.Manifest.Artifact] = c.Artifact
	}
	return out, nil
}

// Artifact reads a model for opening it with its backend alone, without the host's
// processing of its scores.
func (p Place) Artifact(ctx context.Context, with model.Backends) (backends.Backend, backends.Artifact, error) {
	none := backends.Artifact{}
	c, err := p.read()
	if err != nil {
		return nil, none, err
	}
	m := c.Manifest
	backend, ok := with[m.Backend]
	if !ok {
		return nil, none, fmt.Errorf("%w: this host has no backend %q", backends.ErrUnavailable, m.Backend)
	}
	if c, err = c.Inspect(ctx, backend); err != nil {
		return nil, none, err
	}
	probe, err := model.ProbeRows(c)
	if err != nil {
		return nil, none, err
	}
	a := c.ForBackend()
	a.ProbeRows = probe
	return backend, a, nil
}
