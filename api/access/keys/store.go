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

// ErrNoKey means that a file has no key with an id.
var ErrNoKey = errors.New("no such key")

// Holder holds the text of a file of keys.
type Holder interface {
	// Read returns the text. The error wraps fs.ErrNotExist if there is none.
	Read(ctx context.Context) ([]byte, error)
	// Update replaces the text with what change returns. It passes nil if there is
	// none. If the text changes meanwhile, Update may call change again.
	Update(ctx context.Context, change func(was []byte) ([]byte, error)) error
}

// Store changes a file of keys. Several processes may change it at the same time.
type Store struct {
	File   string // where the keys are, for people; without In, the path of the file
	In     Holder // nil: the file
	Roles  *access.Roles
	Now    func() time.Time
	Random io.Reader // cryptographically secure
}

// Wanted describes a new key.
type Wanted struct {
	Name, Role string
	Models     []string      // nil: every model
	Lifetime   time.Duration // 0: it does not expire
}

// Create adds a key and returns its text, which is stored nowhere.
func (s *Store) Create(ctx context.Context, w Wanted) (key string, made Entry, err error) {
	made = Entry{Name: w.Name, Role: w.Role, Models: w.Models}
	if w.Lifetime > 0 {
		made.Expires = s.now().Add(w.Lifetime)
	}
	err = s.change(ctx, true, func(all []Entry) (_ []Entry, err error) {
		key, err = s.Make(&made, all)
		return append(all, made), err
	})
	if err != nil {
		return "", Entry{}, err
	}
	return key, made, nil
}

// Make gives an entry a key that differs from all others, and returns the key.
func (s *Store) Make(e *Entry, others []Entry) (key string, err error) {
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
func (s *Store) List(ctx context.Context) ([]Entry, error) {
	data, err := s.holder().Read(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the keys: %w", err)
	}
	return s.decode(data)
}

func (s *Store) decode(data []byte) ([]Entry, error) {
	all, err := Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.File, err)
	}
	return all, nil
}

func (s *Store) holder() Holder {
	if s.In != nil {
		return s.In
	}
	return inFile(s.File)
}

// Change replaces the keys with those that f returns, which may be called several
// times. It makes the file if there is none.
func (s *Store) Change(ctx context.Context, f func([]Entry) ([]Entry, error)) error {
	return s.change(ctx, true, f)
}

// Revoke makes a key invalid. Revoking it again changes nothing.
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

// Rotate adds a key with the rights of the key id. The old key expires after
// overlap, unless it expires sooner.
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
		if !made.Expires.IsZero() && !made.Created.IsZero() { // it has the lifetime of the old key
			made.Expires = s.now().Add(made.Expires.Sub(made.Created))
		}
		if key, err = s.Make(&made, all); err != nil {
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
	return 0, fmt.Errorf("%w: %.80q; key list shows the keys", ErrNoKey, id)
}

// change is Change, which makes no file unless create is set. It writes only what a
// host can read.
func (s *Store) change(ctx context.Context, create bool, f func([]Entry) ([]Entry, error)) error {
	return s.holder().Update(ctx, func(was []byte) ([]byte, error) {
		var all []Entry
		var err error
		switch {
		case was != nil:
			all, err = s.decode(was)
		case !create:
			err = fmt.Errorf("reading the keys: %s: %w", s.File, fs.ErrNotExist)
		}
		if err == nil {
			all, err = f(all)
		}
		if err != nil {
			return nil, err
		}
		data, err := Encode(all)
		if err != nil {
			return nil, err
		}
		if read, err := Decode(data); err != nil {
			return nil, fmt.Errorf("the key cannot be kept: %w", err)
		} else if _, err := NewSet(read, s.Roles); err != nil {
			return nil, err
		}
		return data, nil
	})
}

// inFile is the holder of a file of this machine.
type inFile string

// Read implements Holder.
func (f inFile) Read(context.Context) ([]byte, error) {
	return os.ReadFile(string(f)) //nolint:wrapcheck // it names the file
}

// Update implements Holder. No other process changes the file meanwhile.
func (f inFile) Update(ctx context.Context, change func(was []byte) ([]byte, error)) error {
	file := string(f)
	if resolved, err := filepath.EvalSymlinks(file); err == nil {
		file = resolved // keeps a link
	}
	unlock, err := lock(ctx, file)
	if err != nil {
		return err
	}
	defer unlock()
	was, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the keys: %w", err)
	}
	data, err := change(was)
	if err != nil {
		return err
	}
	return write(file, data)
}

// write writes the file with mode 0600. An existing file keeps its owner and its
// group's permission to read, so that a host of another user can still read it.
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

// lockLook is the interval at which a taken lock is tried again.
const lockLook = 20 * time.Millisecond

// lock keeps other processes from changing a file, with a lock on a file beside it
// that is not removed.
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
			return nil, errors.Join(fmt.Errorf("another process is changing %s: %w", file, context.Cause(ctx)), f.Close())
		case <-tick.C:
		}
	}
}
