// Package state keeps what stateful models have learned, in a directory of snapshots
// or in memory.
//
// Package registry decides when snapshots are taken, and package model hands a state
// from one model to the next.
package state

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/pynomaly/pynomaly-runtime/internal/atomicfile"
	files "github.com/pynomaly/pynomaly-runtime/internal/private"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// Snapshots keeps the states of stateful models, by artifact, in a directory or,
// without one, in memory.
//
// One host at a time writes to a directory. Another host starts from the existing
// states and keeps what its models learn in memory.
type Snapshots struct {
	dir string
	log *slog.Logger

	mu      sync.Mutex
	memory  map[string][]byte // what is not in the directory
	lock    *os.File          // nil: not locked by this host
	busy    bool              // another host has the directory; this does not change
	trouble string            // why the directory cannot be used, as logged
	closed  bool
}

// New keeps snapshots in a directory, or in memory if dir is empty.
func New(dir string, log *slog.Logger) *Snapshots {
	return &Snapshots{dir: dir, log: log, memory: map[string][]byte{}}
}

// A snapshot begins with a line that has the artifact of the state and the checksum
// of the rest.
const snapshotHeader = "pynomaly snapshot 1 %s sha256:%x\n"

func snapshotOf(m *model.Model, state []byte) []byte {
	return append(fmt.Appendf(nil, snapshotHeader, m.Digest, sha256.Sum256(state)), state...)
}

// name depends on the version's artifact, so that an artifact that is put back finds
// its own state.
func (s *Snapshots) name(m *model.Model) string {
	digest := strings.TrimPrefix(m.Digest, "sha256:")
	return m.ID() + "@" + m.Version() + "-" + digest[:min(12, len(digest))] + ".state"
}

const (
	snapshotLock = ".lock"
	unfinished   = ".*-*"      // the names of snapshots that are being written
	setAside     = ".unusable" // suffix of a snapshot that could not be loaded
)

// Reasons for keeping a state in memory that are not failures. They are logged at
// the start.
var (
	errNoDirectory = errors.New("there is no state directory")
	errBusy        = errors.New("another host keeps its states there: give this one a state_dir of its own")
)

// ErrInMemory means that a snapshot could not be written, and is kept in memory
// until that succeeds.
var ErrInMemory = errors.New("writing a snapshot, which is kept in memory")

// own makes sure that snapshots can be written to the directory. It makes the
// directory again if it was removed. s is locked.
func (s *Snapshots) own() error {
	switch {
	case s.dir == "" || s.closed:
		return errNoDirectory
	case s.busy:
		return errBusy
	case s.lock != nil && s.holds(s.lock):
		return nil
	case s.lock != nil:
		s.log.Warn("the directory of snapshots was removed; it is made anew", "directory", s.dir)
		_ = s.lock.Close() // of a file that is gone
		s.lock = nil
	}
	f, err := s.take()
	if err != nil {
		s.busy = errors.Is(err, errBusy)
		if s.trouble != err.Error() {
			s.trouble = err.Error()
			s.log.Warn("what stateful models learn is kept in memory only", "directory", s.dir, "error", err)
		}
		return err
	}
	s.lock, s.trouble = f, ""
	left, _ := filepath.Glob(filepath.Join(s.dir, unfinished))
	for _, name := range left { // of a host that was killed
		_ = os.Remove(name)
	}
	return nil
}

// holds reports whether an open lock file is the one in the directory.
func (s *Snapshots) holds(f *os.File) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(filepath.Join(s.dir, snapshotLock))
	return err == nil && os.SameFile(open, named)
}

func (s *Snapshots) take() (*os.File, error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of snapshots: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(s.dir, snapshotLock), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the directory of snapshots: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = errBusy
	case err == nil && !s.holds(f):
		err = errors.New("locking the directory of snapshots: the lock was removed")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Close writes what could not be written before, and unlocks the directory. The
// error names the states that are lost.
func (s *Snapshots) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(s.memory)) {
		err := s.own()
		if err == nil {
			err = atomicfile.Write(filepath.Join(s.dir, name), s.memory[name], 0o600)
		}
		if err != nil && !errors.Is(err, errNoDirectory) && !errors.Is(err, errBusy) {
			errs = append(errs, fmt.Errorf("keeping the state %s: %w", name, err))
		}
	}
	s.closed = true
	if s.lock != nil {
		if err := s.lock.Close(); err != nil {
			errs = append(errs, fmt.Errorf("unlocking the directory of snapshots: %w", err))
		}
		s.lock = nil
	}
	return errors.Join(errs...)
}

// Write replaces the snapshot of a model's artifact, unless another model has its
// state by now.
func (s *Snapshots) Write(m *model.Model, state []byte) error {
	data := snapshotOf(m, state)
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.HandedOver() {
		return nil
	}
	err := s.own()
	if err == nil {
		err = atomicfile.Write(filepath.Join(s.dir, s.name(m)), data, 0o600)
	}
	if err == nil {
		delete(s.memory, s.name(m))
		return nil
	}
	s.memory[s.name(m)] = data
	if errors.Is(err, errNoDirectory) || errors.Is(err, errBusy) {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrInMemory, err)
}

// Read returns the snapshot of a model's artifact, or nil if there is none. The
// error says why an existing one cannot be used.
func (s *Snapshots) Read(m *model.Model) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.own() // an existing snapshot can be read anyway
	data := s.memory[s.name(m)]
	if data == nil {
		if s.dir == "" {
			return nil, nil
		}
		var err error
		if data, err = readSnapshot(filepath.Join(s.dir, s.name(m))); errors.Is(err, os.ErrNotExist) {
			return nil, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading it: %w", err)
		}
	}
	_, state, _ := bytes.Cut(data, []byte("\n"))
	if !bytes.Equal(data, snapshotOf(m, state)) {
		return nil, errors.New("it is damaged, or of another artifact")
	}
	return state, nil
}

// readSnapshot reads a snapshot that this user owns. A file of another user is not
// what this host has learned.
func readSnapshot(name string) ([]byte, error) {
	f, err := files.OpenFile(name)
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the file
	}
	defer f.Close()
	return io.ReadAll(f) //nolint:wrapcheck // the same
}

// PutAside renames a snapshot that could not be used, so that the next one does not
// replace it and people can inspect it. It returns a text for a warning.
func (s *Snapshots) PutAside(m *model.Model) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := filepath.Join(s.dir, s.name(m))
	if s.lock == nil || os.Rename(name, name+setAside) != nil {
		return ""
	}
	return "; it is kept as " + s.name(m) + setAside
}
