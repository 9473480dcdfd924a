//go:build linux

package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Backend starts plugins. Close it after all its Scorers.
type Backend struct {
	cfg         Config
	user        *account
	unavailable error
	dir         string   // private; has one directory per plugin
	lock        *os.File // of dir
	keeper      *keeper
	cgroups     *cgroups // nil: limits are set without groups
	plugins     atomic.Int64
	closing     sync.Once
}

// New returns a Backend. If no plugin can be started, Err says why.
func New(cfg Config) *Backend {
	b := &Backend{cfg: cfg}
	if b.cfg.Exe == "" {
		b.cfg.Exe = "/proc/self/exe"
	}
	var err error
	if b.user, err = lookUp(cfg.User); err == nil {
		b.cgroups, err = openCgroups(cfg.Cgroup)
	}
	if err == nil {
		err = b.makeDir()
	}
	if err != nil {
		b.unavailable = fmt.Errorf("%w: process plugins cannot be served: %w", backends.ErrUnavailable, err)
		return b
	}
	b.keeper = newKeeper(b.cfg.Exe, b.dir)
	return b
}

const dirPrefix = "pynomaly-process-"

// makeDir makes the private directory and removes those of hosts that are gone.
func (b *Backend) makeDir() error {
	parent := os.TempDir()
	if len(parent) > maxTemp {
		parent = "/tmp" // the length of socket names is limited
	}
	sweep(parent)
	var err error
	for range 10 {
		if err = b.claimDir(parent); err == nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("making a private directory: %w", err)
	}
	if b.cgroups == nil {
		return nil
	}
	b.cgroups.host = strings.TrimPrefix(filepath.Base(b.dir), dirPrefix)
	// The keeper reads this, as does the next host if it finds the directory.
	if err := os.WriteFile(filepath.Join(b.dir, cgroupFile), []byte(b.cgroups.prefix()), 0o600); err != nil {
		return fmt.Errorf("making a private directory: %w", err)
	}
	return nil
}

// claimDir makes a directory and locks it. Before the lock, another starting host
// may mistake it for one that was left behind.
func (b *Backend) claimDir(parent string) error {
	dir, err := os.MkdirTemp(parent, dirPrefix)
	if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // plugins of another user pass through it
		return err
	}
	name := filepath.Join(dir, lockFile)
	lock, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
		_, err = os.Stat(name)
	}
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	b.dir, b.lock = dir, lock
	return nil
}

const (
	lockFile   = "lock"
	cgroupFile = "cgroup"
	maxTemp    = 40
)

// endGroupsOf ends the groups of the host with this private directory.
func endGroupsOf(dir string) {
	if prefix, err := os.ReadFile(filepath.Join(dir, cgroupFile)); err == nil {
		endGroups(string(prefix))
	}
}

// sweep removes the directories of hosts that are gone and have no keeper.
func sweep(parent string) {
	left, _ := filepath.Glob(filepath.Join(parent, dirPrefix+"*"))
	for _, dir := range left {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() {
			continue
		}
		if s, ok := info.Sys().(*syscall.Stat_t); !ok || int(s.Uid) != os.Geteuid() {
			continue
		}
		f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|syscall.O_NOFOLLOW, 0)
		if err != nil {
			continue // it is just being made or removed
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			endGroupsOf(dir)
			endStrays(dir)
			_ = removeAll(dir) // failing leaves an unused directory
		}
		_ = f.Close()
	}
}

// removeAll removes a directory that contains read-only directories. As root it
// changes no modes, because root can remove such directories anyway and a plugin's
// user might have put a link in one.
func removeAll(dir string) error {
	if os.Geteuid() != 0 {
		_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				_ = os.Chmod(path, 0o700) //nolint:gosec // a directory
			}
			return nil
		})
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing a private directory: %w", err)
	}
	return nil
}

// Err returns why plugins cannot be started, or nil.
func (b *Backend) Err() error { return b.unavailable }

// Close removes the backend's directory and ends its helpers.
func (b *Backend) Close() error {
	var err error
	b.closing.Do(func() {
		if b.keeper != nil {
			err = b.keeper.close()
		}
		if b.lock != nil {
			err = errors.Join(err, removeAll(b.dir), b.lock.Close())
		}
	})
	return err
}

// Inspect returns the features that a manifest leaves out, as the plugin says of itself.
func (b *Backend) Inspect(ctx context.Context, a backends.Artifact) (manifest.Derived, error) {
	var none manifest.Derived
	if b.unavailable != nil {
		return none, b.unavailable
	}
	if err := b.permit(a); err != nil {
		return none, err
	}
	if len(a.Manifest.Features) > 0 {
		return none, nil
	}
	p, err := b.prepare(a)
	if err != nil {
		return none, err
	}
	defer p.close()
	ctx, cancel := context.WithTimeout(ctx, a.Manifest.Limits.LoadTimeout)
	defer cancel()
	i, err := p.connect(ctx)
	if err != nil {
		return none, fmt.Errorf("%w: %w", backends.ErrRefused, err)
	}
	defer i.close()
	out, err := i.said.Derive(a.Manifest)
	if err != nil {
		return none, fmt.Errorf("%w: %w", backends.ErrRefused, err)
	}
	return out, nil
}

// Open starts a plugin.
func (b *Backend) Open(ctx context.Context, a backends.Artifact) (sdk.Scorer, error) {
	if b.unavailable != nil {
		return nil, b.unavailable
	}
	if err := b.permit(a); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.Manifest.Limits.LoadTimeout)
	defer cancel()
	p, err := b.prepare(a)
	if err != nil {
		return nil, err
	}
	s, err := newScorer(ctx, p)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", backends.ErrRefused, err), p.close())
	}
	return s, nil
}
