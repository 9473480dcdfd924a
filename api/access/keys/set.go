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

// Set is a set of keys that recognises them. It does not change.
type Set struct {
	of    map[string]*known
	other known // stands for keys that are not there
}

type known struct {
	sum       [sha256.Size]byte
	entry     Entry
	principal *access.Principal
}

// NewSet makes a set of the entries of a file. It fails where one has a role that is
// unknown.
func NewSet(all []Entry, roles *access.Roles) (*Set, error) {
	s := &Set{of: make(map[string]*known, len(all))}
	for _, e := range all {
		k := &known{entry: e}
		sum, err := hex.DecodeString(e.SHA256)
		if err != nil || copy(k.sum[:], sum) != sha256.Size {
			return nil, fmt.Errorf("key %s: its sha256 is none", e.ID)
		}
		if k.principal, err = e.principal(roles); err != nil {
			return nil, fmt.Errorf("key %s: %w", e.ID, err)
		}
		s.of[e.ID] = k
	}
	return s, nil
}

// ForRun makes a set of one key of an admin, which is in no file.
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

// Len is how many keys there are.
func (s *Set) Len() int { return len(s.of) }

// What a key is refused for. That it has expired or was revoked is told to those alone who
// have its secret.
var (
	errNoKey   = &access.Error{Is: access.ErrUnauthenticated, Reason: "malformed_key", Public: "the API key has not the form of one: pyn_<id>_<secret>"}
	errUnknown = &access.Error{Is: access.ErrUnauthenticated, Reason: "unknown_key", Public: "the API key is none of this host's"}
	errExpired = &access.Error{Is: access.ErrUnauthenticated, Reason: "expired_key", Public: "the API key has expired: ask for another one"}
	errRevoked = &access.Error{Is: access.ErrUnauthenticated, Reason: "revoked_key", Public: "the API key was revoked: ask for another one"}
)

// Lookup returns whose key it is. The error is an *access.Error. An id that is unknown
// takes as long as one that is known, and comparing the secret takes the same time however
// much of it is right. Lookup allocates nothing.
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
