package modelstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/atomicfile"
	"github.com/pynomaly/pynomaly-runtime/internal/oci"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
)

// Push stores the model that name resolves to in an OCI registry, and returns its
// reference by digest.
func (s Store) Push(ctx context.Context, name, reference string, o oci.Options) (string, *Contents, error) {
	p, err := s.Resolve(name)
	if err != nil {
		return "", nil, err
	}
	c, err := p.Contents()
	if err != nil {
		return "", nil, err
	}
	pushed, err := oci.Push(ctx, reference, &oci.Model{ID: c.ID, Version: c.Version, Digest: c.Digest, Files: c.Files}, o)
	return pushed, c, err
}

// Expected is what a pulled model must be. Empty fields accept anything.
type Expected struct {
	Name   string // <id>@<version>
	Digest string // of the content
}

func (e Expected) check(reference, pushed string, c *Contents) error {
	switch {
	case e.Name != "" && e.Name != c.ID+"@"+c.Version:
		return fmt.Errorf("%s is %s@%s, not %s", reference, c.ID, c.Version, e.Name)
	case e.Digest != "" && e.Digest != c.Digest:
		return fmt.Errorf("%s has content digest %s, not %s", reference, c.Digest, e.Digest)
	case pushed != "" && pushed != c.Digest:
		return fmt.Errorf("%s has content digest %s; whoever pushed it said %s", reference, c.Digest, pushed)
	}
	return nil
}

// Pull fetches a model from an OCI registry into the directory, and returns its
// place there. It fetches into a directory beside the models, checks the files, and
// moves them.
func (s Store) Pull(ctx context.Context, reference string, want Expected, o oci.Options) (string, *Contents, error) {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil { //nolint:gosec // what serves models may be another user
		return "", nil, fmt.Errorf("making the models directory: %w", err)
	}
	temp, done, err := pullDir(s.Dir)
	if err != nil {
		return "", nil, fmt.Errorf("making a directory to pull into: %w", err)
	}
	defer done()
	dir := filepath.Join(temp, "model")
	c, err := s.fetch(ctx, reference, dir, want, o)
	if err != nil {
		return "", nil, err
	}
	place := filepath.Join(s.Dir, c.ID, c.Version)
	if err := atomicfile.MoveDir(dir, place); err == nil {
		return place, c, nil
	} else if _, there := os.Stat(place); there != nil {
		return "", nil, err
	}
	was, err := (Place{Dir: s.Dir, Location: catalog.Location{ID: c.ID, Version: c.Version, Dir: c.ID + "/" + c.Version}}).ContentDigest()
	if err != nil || was != c.Digest {
		return "", nil, fmt.Errorf("%s exists already with other contents (content digest %s, pulled %s): remove it, or give this one another version", place, was, c.Digest)
	}
	return place, c, nil
}

// fetch fetches a model into dir, and checks it.
func (s Store) fetch(ctx context.Context, reference, dir string, want Expected, o oci.Options) (*Contents, error) {
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // what serves models may be another user
		return nil, fmt.Errorf("making a directory to pull into: %w", err)
	}
	pulled, err := oci.Pull(ctx, reference, dir, o)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, manifest.FileName)); err != nil {
		return nil, fmt.Errorf("%s has no %s at its root", reference, manifest.FileName)
	}
	p, err := s.FindOne(dir)
	if err != nil {
		return nil, fmt.Errorf("%s is not a valid model: %w", reference, err)
	}
	c, err := p.Contents()
	if err != nil {
		return nil, fmt.Errorf("%s is not a valid model: %w", reference, err)
	}
	return c, want.check(reference, pulled.Digest, c)
}

const pullPrefix = ".pull-" // no model id begins like this, so hosts ignore it

// staleAfter is how old a killed pull's directory must be before it is removed,
// because locks are not visible to other machines.
const staleAfter = time.Hour

// pullDir makes a directory to pull into, and removes old directories of killed
// pulls. A running pull holds a lock on its directory.
func pullDir(models string) (dir string, done func(), err error) {
	old, err := filepath.Glob(filepath.Join(models, pullPrefix+"*"))
	if err != nil {
		return "", nil, err
	}
	for _, name := range old {
		if f, err := os.Open(name); err == nil {
			if info, err := f.Stat(); err == nil && time.Since(info.ModTime()) > staleAfter && syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
				_ = os.RemoveAll(name) // else the next pull removes it
			}
			_ = f.Close()
		}
	}
	if dir, err = os.MkdirTemp(models, pullPrefix); err != nil {
		return "", nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return "", nil, errors.Join(err, f.Close(), os.RemoveAll(dir))
	}
	return dir, func() {
		_ = os.RemoveAll(dir) // else the next pull removes it
		_ = f.Close()
	}, nil
}
