package onnx

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/pynomaly/pynomaly-runtime/internal/child"
	"github.com/pynomaly/pynomaly-runtime/internal/private"
)

// Places below the state directory: the proofs, and the key that seals them.
// Both directories are private.
const (
	proofsDir = "onnx-proved"
	keyDir    = "keys"
	keyFile   = "onnx-proofs"
	keyBytes  = 32
)

// proofs remembers which graphs passed the probe.
type proofs struct {
	stateDir string // empty: forget proofs at exit
	limiter  *child.Limiter
	log      *slog.Logger
	running  child.Keys // lets one proof of the same graph run at a time

	mu      sync.Mutex
	ok      map[string]finding
	trouble string // the last error of keeping proofs
}

func newProofs(stateDir string, limiter *child.Limiter, log *slog.Logger) *proofs {
	return &proofs{stateDir: stateDir, limiter: limiter, log: log, ok: map[string]finding{}}
}

// name hashes everything that a proof depends on.
func (p *proofs) name(job probeJob, version string) (string, error) {
	h := sha256.New()
	bind := job.Binding
	err := json.NewEncoder(h).Encode([]any{probeVersion, sha256.Sum256(job.Graph), version, bind, job.MaxRows, job.Fewer, job.Memory, job.Time, runtime.GOARCH})
	return hex.EncodeToString(h.Sum(nil)), err
}

// sealed is the contents of a proof's file.
type sealed struct {
	Finding finding
	Seal    []byte // HMAC-SHA256 of the proof's name and the finding
}

func seal(key []byte, name string, f finding) ([]byte, error) {
	h := hmac.New(sha256.New, key)
	err := json.NewEncoder(h).Encode([]any{name, f})
	return h.Sum(nil), err
}

// kept is the open directory of proofs and the key.
type kept struct {
	dir *os.Root
	key []byte
}

// open opens the directory of proofs. It refuses a directory that another user
// can change: a forged proof would let a refused graph run.
func (p *proofs) open() (*kept, error) {
	keys, err := private.Open(filepath.Join(p.stateDir, keyDir))
	if err != nil {
		return nil, err
	}
	defer keys.Close()
	key, err := readKey(keys)
	if err != nil {
		return nil, err
	}
	dir, err := private.Open(filepath.Join(p.stateDir, proofsDir))
	if err != nil {
		return nil, err
	}
	return &kept{dir: dir, key: key}, nil
}

// readKey reads the key, or makes one. If two processes make one at the same
// time, both use the first.
func readKey(dir *os.Root) ([]byte, error) {
	key, err := dir.ReadFile(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		fresh := make([]byte, keyBytes)
		if _, err := rand.Read(fresh); err != nil {
			return nil, fmt.Errorf("making the key of proofs: %w", err)
		}
		if err := place(dir, keyFile, fresh, dir.Link); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("writing the key of proofs: %w", err)
		}
		key, err = dir.ReadFile(keyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the key of proofs: %w", err)
	}
	info, err := dir.Lstat(keyFile)
	if err != nil {
		return nil, fmt.Errorf("looking at the key of proofs: %w", err)
	}
	if len(key) != keyBytes || !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w: file %s in directory %s is no key of mode 0600: remove it", private.ErrExposed, keyFile, keyDir)
	}
	return key, nil
}

// place writes a temporary file and calls move to give it its name.
func place(dir *os.Root, name string, data []byte, move func(from, to string) error) error {
	tmp := ".new-" + rand.Text()
	err := dir.WriteFile(tmp, data, 0o600)
	if err == nil {
		err = move(tmp, name)
	}
	if gone := dir.Remove(tmp); err == nil && gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		err = gone
	}
	return err
}

// complain logs why proofs cannot be kept, once per reason.
func (p *proofs) complain(err error) {
	if text := err.Error(); text != p.trouble {
		p.trouble = text
		p.log.Warn("proofs of graphs are forgotten at exit", "error", err)
	}
}

// recall returns a proof that this host has sealed.
func (p *proofs) recall(name string) (finding, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f, ok := p.ok[name]; ok {
		return f, true
	}
	if p.stateDir == "" {
		return finding{}, false
	}
	k, err := p.open()
	if err != nil {
		p.complain(err)
		return finding{}, false
	}
	defer k.dir.Close()
	data, err := k.dir.ReadFile(name)
	var s sealed
	if err != nil || json.Unmarshal(data, &s) != nil {
		return finding{}, false
	}
	want, err := seal(k.key, name, s.Finding)
	if err != nil || !hmac.Equal(want, s.Seal) || s.Finding.OutputRank < 1 || s.Finding.OutputRank > 2 || s.Finding.Rows < 1 {
		return finding{}, false
	}
	p.ok[name] = s.Finding
	return s.Finding, true
}

// remember keeps a proof. If it cannot be written, the graph is proved again
// after a restart.
func (p *proofs) remember(name string, f finding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keep(name, f)
}

// keep is remember for callers that hold the lock.
func (p *proofs) keep(name string, f finding) {
	p.ok[name] = f
	if p.stateDir == "" {
		return
	}
	if err := p.write(name, f); err != nil {
		p.complain(err)
	}
}

func (p *proofs) write(name string, f finding) error {
	k, err := p.open()
	if err != nil {
		return err
	}
	s := sealed{Finding: f}
	if s.Seal, err = seal(k.key, name, f); err != nil {
		return errors.Join(fmt.Errorf("sealing a proof: %w", err), k.dir.Close())
	}
	var data bytes.Buffer
	if err = json.NewEncoder(&data).Encode(s); err == nil {
		err = place(k.dir, name, data.Bytes(), k.dir.Rename)
	}
	if err = errors.Join(err, k.dir.Close()); err != nil {
		return fmt.Errorf("keeping a proof: %w", err)
	}
	return nil
}

// mostComparisons bounds the comparisons that the proof of a graph keeps: each manifest of
// the graph that asks for something else has its own.
const mostComparisons = 16

// add adds a comparison of the plan of a graph to the proof of the graph, whose finding is
// found. Comparisons that others have added in the meantime stay.
func (p *proofs) add(job probeJob, version string, found finding, comparison, how string) error {
	name, err := p.name(job, version)
	if err != nil {
		return fmt.Errorf("naming the proof: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if f, ok := p.ok[name]; ok {
		found = f
	}
	all := map[string]string{}
	if len(found.Forests) < mostComparisons {
		maps.Copy(all, found.Forests)
	}
	all[comparison] = how
	found.Forests = all
	p.keep(name, found)
	return nil
}

// prove returns the finding of a graph. It runs the probe's process unless the
// graph was proved before.
func (p *proofs) prove(ctx context.Context, job probeJob, version string) (finding, error) {
	name, err := p.name(job, version)
	if err != nil {
		return finding{}, fmt.Errorf("naming the proof: %w", err)
	}
	unlock, err := p.running.Lock(ctx, name)
	if err != nil {
		return finding{}, err
	}
	defer unlock()
	if f, ok := p.recall(name); ok {
		return f, nil
	}
	f, err := runFitting(ctx, job, p.limiter)
	if err != nil {
		return finding{}, fmt.Errorf("proving the graph in a child process: %w", err)
	}
	p.remember(name, f)
	return f, nil
}
