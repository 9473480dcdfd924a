package tokens

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/pynomaly/pynomaly-runtime/internal/follow"
)

// source has the keys of an issuer.
type source interface {
	// find returns the keys that an algorithm and a kid name, and the generation of
	// those keys. It returns none if they are unknown.
	find(ctx context.Context, alg, kid string) (keys []any, generation uint64)
	// generation returns the generation of the present keys, which changes with
	// them.
	generation() uint64
	// run keeps the keys up to date until ctx ends.
	run(ctx context.Context)
}

// held is a set of keys that may be replaced.
type held struct{ set atomic.Pointer[keySet] }

// replace replaces the set with set, which was parsed from raw, if raw differs. Only
// one goroutine may call it.
func (h *held) replace(raw []byte, set *keySet) {
	was := h.set.Load()
	if was != nil && bytes.Equal(raw, was.raw) {
		return
	}
	if set.raw = bytes.Clone(raw); was != nil {
		set.generation = was.generation + 1
	}
	h.set.Store(set)
}

func (h *held) generation() uint64 {
	if set := h.set.Load(); set != nil {
		return set.generation
	}
	return 0
}

func (h *held) look(alg, kid string) ([]any, uint64) {
	if set := h.set.Load(); set != nil {
		return set.find(alg, kid), set.generation
	}
	return nil, 0
}

// minSecretBytes is the least length of a secret: that of the shortest HMAC.
const minSecretBytes = 32

// file is a source that follows a file.
type file struct {
	held
	follow.File
}

// newFile reads a file of keys or of a secret.
func newFile(name string, secret bool, algorithms []string, log *slog.Logger, observe func(error)) (*file, error) {
	parse := parseJWKS
	if secret {
		parse = parseSecret
	}
	f := &file{}
	f.File = follow.File{Name: name, What: "the keys of tokens", Log: log, Observe: observe, Take: func(data []byte) error {
		keys, err := parse(data, algorithms)
		if err == nil {
			f.replace(data, keys)
		}
		return err
	}}
	if err := f.Read(); err != nil {
		return nil, fmt.Errorf("reading the keys of tokens: %w", err)
	}
	return f, nil
}

func parseSecret(data []byte, algorithms []string) (*keySet, error) {
	secret := bytes.TrimRight(data, "\r\n")
	switch {
	case len(secret) < minSecretBytes:
		return nil, fmt.Errorf("the secret has %d bytes; at least %d are needed", len(secret), minSecretBytes)
	case bytes.Contains(data, []byte("-----BEGIN ")) || bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")):
		return nil, errors.New("the file has a key instead of a secret: a public key is never a secret; use jwks")
	}
	return secretSet(bytes.Clone(secret), algorithms), nil
}

// find implements source.
func (f *file) find(_ context.Context, alg, kid string) ([]any, uint64) {
	return f.look(alg, kid)
}

// run implements source.
func (f *file) run(ctx context.Context) { f.Run(ctx) }
