// Package access decides who may do what.
//
// It knows no transport: a transport passes the credentials of a request and sends
// the answer. Every entrance decides by Decide.
package access

import "errors"

// The kinds of errors of this package.
var (
	// ErrUnauthenticated means that the caller is not known: it showed no
	// credential, or a wrong one.
	ErrUnauthenticated = errors.New("unauthenticated")
	// ErrForbidden means that the caller's roles do not allow the action.
	ErrForbidden = errors.New("forbidden")
	// ErrHidden means that the caller may not see the model. The answer must be that
	// of a model that does not exist.
	ErrHidden = errors.New("model not found")
	// ErrLimited means that the caller sent too many requests.
	ErrLimited = errors.New("rate limited")
)

// Error is a refusal.
type Error struct {
	Is     error  // one of the errors above
	Reason string // a few words for logs, metrics and the audit
	Public string // text for the client; it names no model, key or person
}

// Error implements error. The text is for the host's own log.
func (e *Error) Error() string { return e.Is.Error() + ": " + e.Reason }

// Unwrap makes errors.Is find the kind of the refusal.
func (e *Error) Unwrap() error { return e.Is }

// Kind is the kind of credential that a principal has shown.
type Kind string

// The kinds of principals.
const (
	Anonymous   Kind = "anonymous"   // no credential
	Local       Kind = "local"       // none, but a call from this machine
	Key         Kind = "key"         // an API key
	Token       Kind = "jwt"         // a JWT
	Certificate Kind = "certificate" // a client certificate
)

// Principal is an identified caller. It must not be changed once in use.
type Principal struct {
	Kind    Kind
	ID      string // unique for the kind: a key's id, <issuer>#<subject>, or a certificate's subject
	Name    string // for people
	Roles   []string
	Actions Actions // that the roles allow
	Models  Models  // that the principal may see
}

// Same reports whether two principals are the same.
func (p *Principal) Same(other *Principal) bool { return p.Kind == other.Kind && p.ID == other.ID }

// Shown reports whether the principal has shown a credential. Other principals are
// told apart by their addresses.
func (p *Principal) Shown() bool { return p.Kind != Anonymous && p.Kind != Local }

// Sees reports whether the principal may know of a model, whether or not it exists.
func (p *Principal) Sees(model string) bool { return p.Models.Match(model) }

// Decide returns nil if p may do the action to the model. The model is empty if the
// action concerns none. p is nil if nobody is identified. The error is an *Error of
// ErrUnauthenticated, ErrHidden or ErrForbidden.
//
// A model that p may not see is hidden for every action, so that the answer does not
// show whether it exists.
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

// The refusals are made once, so that deciding allocates nothing.
var (
	errNobody = &Error{ErrUnauthenticated, "no_credential",
		"this host requires credentials: send an API key (X-API-Key) or a token (Authorization: Bearer)"}
	errHidden    = &Error{ErrHidden, "hidden_model", "there is no such model"}
	errForbidden = &Error{ErrForbidden, "role", "your role does not allow this"}
)
