package keys

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/internal/follow"
)

// Followed is the set of keys of a file that may change. While the file cannot be
// read, the keys that were read last stay valid.
type Followed struct {
	file  follow.File
	mu    sync.Mutex // held while roles or the set change
	roles *access.Roles
	read  []Entry
	set   atomic.Pointer[Set]
}

// Open reads a file of keys, which Run follows. observe, if not nil, is called with
// the result of each attempt to read it again.
func Open(file string, roles *access.Roles, log *slog.Logger, observe func(error)) (*Followed, error) {
	f := &Followed{roles: roles}
	f.file = follow.File{Name: file, What: "the API keys", Take: f.take, Log: log, Observe: observe}
	if err := f.file.Read(); err != nil {
		return nil, err //nolint:wrapcheck // it names the file
	}
	return f, nil
}

// Run reads the file again when it changes, until ctx ends.
func (f *Followed) Run(ctx context.Context) { f.file.Run(ctx) }

func (f *Followed) take(data []byte) error {
	all, err := Decode(data)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	set, err := NewSet(all, f.roles)
	if err != nil {
		return err
	}
	f.read = all
	f.set.Store(set)
	return nil
}

// Prepare checks that every key's role is in roles, and returns a function that
// makes the keys use them.
func (f *Followed) Prepare(roles *access.Roles) (use func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := NewSet(f.read, roles); err != nil {
		return nil, err
	}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.roles = roles
		// A key that was added meanwhile may have a removed role. Then the next
		// check reports it.
		if set, err := NewSet(f.read, roles); err == nil {
			f.set.Store(set)
		}
	}, nil
}

// Lookup is Set.Lookup on the present keys.
func (f *Followed) Lookup(key []byte, now time.Time) (*access.Principal, error) {
	return f.set.Load().Lookup(key, now)
}
