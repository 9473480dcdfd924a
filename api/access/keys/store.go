package keys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/internal/atomicfile"
)

// ErrNoKey means that a file has no key of an id.
var ErrNoKey = errors.New("no such key")

// Store is a file of keys that is changed. Several processes may change it at once.
type Store struct {
	File   string
	Roles  *access.Roles
	Now    func() time.Time
	Random io.Reader // cryptographic
}

// Wanted is what a new key is to be.
type Wanted struct {
	Name, Role string
	Models     []string      // nil: every model
	Lifetime   time.Duration // 0: it does not expire
}

// Create adds a key, and returns it as a whole: it is kept nowhere else.
func (s *Store) Create(ctx context.Context, w Wanted) (key string, made Entry, err error) {
	made = Entry{Name: w.Name, Role: w.Role, Models: w.Models}
	if w.Lifetime > 0 {
		made.Expires = s.now().Add(w.Lifetime)
	}
	err = s.change(ctx, true, func(all []Entry) (_ []Entry, err error) {
		key, err = s.make(&made, all)
		return append(all, made), err
	})
	if err != nil {
		return "", Entry{}, err
	}
	return key, made, nil
}

// make gives an entry a key that none of the others has.
func (s *Store) make(e *Entry, others []Entry) (key string, err error) {
	for {
		if key, e.ID, e.SHA256, err = generate(s.Random); err != nil {
			return "", err
		}
		if !slices.ContainsFunc(others, func(o Entry) bool { return o.ID == e.ID }) {
			e.Created = s.now()
			return key, nil
		}
	}
}

func (s *Store) now() time.Time { return s.Now().UTC().Truncate(time.Second) }

// List returns the keys in the file's order.
func (s *Store) List() ([]Entry, error) {
	data, err := os.ReadFile(s.File)
	if err != nil {
		return nil, fmt.Errorf("reading the keys: %w", err)
	}
	all, err := Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.File, err)
	}
	return all, nil
}

// Revoke makes a key good for nothing. Revoking it again changes nothing.
func (s *Store) Revoke(ctx context.Context, id string) (revoked Entry, err error) {
	err = s.change(ctx, false, func(all []Entry) ([]Entry, error) {
		i, err := find(all, id)
		if err != nil {
			return nil, err
		}
		if all[i].Revoked.IsZero() {
			all[i].Revoked = s.now()
		}
		revoked = all[i]
		return all, nil
	})
	return revoked, err
}

// Rotate adds a key that may do what the key id may, and lets that one expire after
// overlap, if it does not expire sooner.
func (s *Store) Rotate(ctx context.Context, id string, overlap time.Duration) (key string, made Entry, err error) {
	err = s.change(ctx, false, func(all []Entry) ([]Entry, error) {
		i, err := find(all, id)
		if err != nil {
			return nil, err
		}
		if status := all[i].Status(s.Now()); status != "active" {
			return nil, fmt.Errorf("key %s is %s: make a new one with key create", id, status)
		}
		made = all[i]
		if !made.Expires.IsZero() && !made.Created.IsZero() { // it lives as long as that one was to
			made.Expires = s.now().Add(made.Expires.Sub(made.Created))
		}
		if key, err = s.make(&made, all); err != nil {
			return nil, err
		}
		if end := s.now().Add(overlap); all[i].Expires.IsZero() || end.Before(all[i].Expires) {
			all[i].Expires = end
		}
		return append(all, made), nil
	})
	if err != nil {
		return "", Entry{}, err
	}
	return key, made, nil
}

func find(all []Entry, id string) (int, error) {
	if i := slices.IndexFunc(all, func(e Entry) bool { return e.ID == id }); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("%w: %.80q; key list shows those that there are", ErrNoKey, id)
}

// change replaces the file by what f makes of its keys. Nobody else changes it meanwhile.
// What is written can be read by a host, or nothing is written.
func (s *Store) change(ctx context.Context, create bool, f func([]Entry) ([]Entry, error)) error {
	file := s.File
	if resolved, err := filepath.EvalSymlinks(file); err == nil {
		file = resolved // a link stays one
	}
	unlock, err := lock(ctx, file)
	if err != nil {
		return err
	}
	defer unlock()
	all, err := (&Store{File: file}).List()
	if err != nil && (!create || !errors.Is(err, fs.ErrNotExist)) {
		return err
	}
	if all, err = f(all); err != nil {
		return err
	}
	data, err := Encode(all)
	if err != nil {
		return err
	}
	if read, err := Decode(data); err != nil {
		return fmt.Errorf("the key cannot be kept: %w", err)
	} else if _, err := NewSet(read, s.Roles); err != nil {
		return err
	}
	return write(file, data)
}

// write writes the file with mode 0600. A file that is there keeps its owner and what its
// group may read, so that a host of another user still reads it.
func write(file string, data []byte) error {
	mode, uid, gid := fs.FileMode(0o600), -1, -1
	var was unix.Stat_t
	if err := unix.Stat(file, &was); err == nil {
		mode |= fs.FileMode(was.Mode & 0o040)
		uid, gid = int(was.Uid), int(was.Gid)
	}
	f, err := atomicfile.Create(file, mode)
	if err != nil {
		return err //nolint:wrapcheck // it names the file
	}
	if uid >= 0 && (uid != os.Geteuid() || gid != os.Getegid()) {
		err = f.Chown(uid, gid)
	}
	if err == nil {
		_, err = f.Write(data)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", file, err), f.Discard())
	}
	return f.Commit() //nolint:wrapcheck // it names the file
}

// lockLook is how often a lock that somebody else holds is tried.
const lockLook = 20 * time.Millisecond

// lock keeps other processes from changing a file, by a file beside it that stays there.
func lock(ctx context.Context, file string) (unlock func(), err error) {
	name := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+".lock")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", file, err)
	}
	tick := time.NewTicker(lockLook)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("locking %s: %w", file, err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("somebody else is changing %s: %w", file, context.Cause(ctx)), f.Close())
		case <-tick.C:
		}
	}
}
