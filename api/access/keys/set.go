package keys

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/pynomaly/pynomaly-runtime/api/access"
)

// Set is an immutable set of keys.
type Set struct {
	of    map[string]*known
	other known // compared with in place of a missing key
}

type known struct {
	sum       [sha256.Size]byte
	entry     Entry
	principal *access.Principal
}

// NewSet returns the set of a file's entries. It fails if one has an unknown role.
func NewSet(all []Entry, roles *access.Roles) (*Set, error) {
	s := &Set{of: make(map[string]*known, len(all))}
	for _, e := range all {
		k := &known{entry: e}
		sum, err := hex.DecodeString(e.SHA256)
		if err != nil || copy(k.sum[:], sum) != sha256.Size {
			return nil, fmt.Errorf("key %s: its sha256 is not a SHA-256 in hex", e.ID)
		}
		if k.principal, err = e.principal(roles); err != nil {
			return nil, fmt.Errorf("key %s: %w", e.ID, err)
		}
		s.of[e.ID] = k
	}
	return s, nil
}

// ForRun returns a set with one new key of an admin, which is in no file.
func ForRun(random io.Reader, roles *access.Roles) (key string, s *Set, err error) {
	e := Entry{Name: "admin of this run", Role: access.RoleAdmin}
	if key, e.ID, e.SHA256, err = generate(random); err != nil {
		return "", nil, err
	}
	s, err = NewSet([]Entry{e}, roles)
	return key, s, err
}

func (e *Entry) principal(roles *access.Roles) (*access.Principal, error) {
	p := &access.Principal{Kind: access.Key, ID: e.ID, Name: e.Name, Roles: []string{e.Role}, Models: access.AllModels()}
	var err error
	if p.Actions, err = roles.Actions(e.Role); err != nil {
		return nil, err //nolint:wrapcheck // NewSet does
	}
	if e.Models != nil {
		p.Models, err = access.ParseModels(e.Models)
	}
	return p, err //nolint:wrapcheck // NewSet does
}

// Len returns the number of keys.
func (s *Set) Len() int { return len(s.of) }

// The reasons to refuse a key. Only a caller that has the secret learns that a key
// has expired or was revoked.
var (
	errNoKey   = &access.Error{Is: access.ErrUnauthenticated, Reason: "malformed_key", Public: "the API key does not have the form pyn_<id>_<secret>"}
	errUnknown = &access.Error{Is: access.ErrUnauthenticated, Reason: "unknown_key", Public: "this host does not know the API key"}
	errExpired = &access.Error{Is: access.ErrUnauthenticated, Reason: "expired_key", Public: "the API key has expired: ask for another one"}
	errRevoked = &access.Error{Is: access.ErrUnauthenticated, Reason: "revoked_key", Public: "the API key was revoked: ask for another one"}
)

// Lookup returns the principal of a key. The error is an *access.Error. An unknown
// id takes as long as a known one, and comparing secrets takes the same time however
// much matches. Lookup allocates nothing.
func (s *Set) Lookup(key []byte, now time.Time) (*access.Principal, error) {
	id, secret, ok := Parse(key)
	if !ok {
		return nil, errNoKey
	}
	k, there := s.of[string(id)]
	if !there {
		k = &s.other
	}
	sum := sha256.Sum256(secret)
	if subtle.ConstantTimeCompare(sum[:], k.sum[:]) != 1 || !there {
		return nil, errUnknown
	}
	switch {
	case !k.entry.Revoked.IsZero():
		return nil, errRevoked
	case !k.entry.Expires.IsZero() && !now.Before(k.entry.Expires):
		return nil, errExpired
	}
	return k.principal, nil
}
