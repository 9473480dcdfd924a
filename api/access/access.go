// Package access decides who may do what.
//
// It knows no transport: a transport hands over the credentials of a request and carries
// the answer. Decide is the one decision for every way in.
package access

import "errors"

// What errors of this package are.
var (
	// ErrUnauthenticated says that nobody is known to ask: no credential, or a wrong one.
	ErrUnauthenticated = errors.New("unauthenticated")
	// ErrForbidden says that the principal is known and its roles do not allow the action.
	ErrForbidden = errors.New("forbidden")
	// ErrHidden says that the principal may not see the model. It must be answered as a
	// model that does not exist.
	ErrHidden = errors.New("model not found")
	// ErrLimited says that the caller asked too often.
	ErrLimited = errors.New("rate limited")
)

// Error is a refusal.
type Error struct {
	Is     error  // one of the errors above
	Reason string // one of few words, for logs, metrics and the audit
	Public string // what the client is told: it helps the honest and names no model, key or person
}

// Error implements error. The text is for the host's own log.
func (e *Error) Error() string { return e.Is.Error() + ": " + e.Reason }

// Unwrap makes errors.Is find the kind of the refusal.
func (e *Error) Unwrap() error { return e.Is }

// Kind says what a principal has shown.
type Kind string

// The kinds of principals.
const (
	Anonymous   Kind = "anonymous"   // nothing
	Local       Kind = "local"       // that it calls from this machine
	Key         Kind = "key"         // an API key
	Token       Kind = "jwt"         // a JWT
	Certificate Kind = "certificate" // a client certificate
)

// Principal is somebody who asks. It must not be changed once it is in use.
type Principal struct {
	Kind    Kind
	ID      string // tells principals of a kind apart: a key's id, <issuer>#<subject>, a certificate's subject
	Name    string // for people
	Roles   []string
	Actions Actions // what the roles allow
	Models  Models  // which models the principal may see
}

// Same reports whether two principals are the same one.
func (p *Principal) Same(other *Principal) bool { return p.Kind == other.Kind && p.ID == other.ID }

// Shown reports whether the principal has shown who it is: others are told apart by their
// addresses.
func (p *Principal) Shown() bool { return p.Kind != Anonymous && p.Kind != Local }

// Sees reports whether the principal may know of a model, whether it is there or not.
func (p *Principal) Sees(model string) bool { return p.Models.Match(model) }

// Decide returns nil if p may do the action to the model. The model is empty where the
// action concerns none. A nil p is nobody. The error is an *Error of ErrUnauthenticated,
// ErrHidden or ErrForbidden.
//
// A model that p may not see is hidden whatever the action, so that the answer does not
// depend on whether it exists.
func Decide(p *Principal, action Action, model string) error {
	switch {
	case p == nil:
		return errNobody
	case model != "" && !p.Models.Match(model):
		return errHidden
	case !p.Actions.Has(action):
		return errForbidden
	}
	return nil
}

// Refusals that are made once: deciding allocates nothing.
var (
	errNobody = &Error{ErrUnauthenticated, "no_credential",
		"this host asks who you are: send an API key (X-API-Key) or a token (Authorization: Bearer)"}
	errHidden    = &Error{ErrHidden, "hidden_model", "there is no such model"}
	errForbidden = &Error{ErrForbidden, "role", "your role does not allow this"}
)
