// Package tokens verifies JSON Web Tokens.
//
// The configuration, never the token, sets the algorithm. A key must be of the kind
// that the algorithm needs. A source of keys that is down, slow or wrong lets nobody
// in, and stops nobody whose key is known.
package tokens

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pynomaly/pynomaly-runtime/api/access"
)

// maxToken is the largest length of a token in bytes. Longer tokens are refused
// unread.
const maxToken = 8 << 10

// Issuer says which tokens are accepted and what they allow. Package config has
// checked it.
type Issuer struct {
	Issuer, Audience string
	JWKS             string // an https URL or a file; empty: SecretFile
	SecretFile       string
	CA               string // file of CAs for JWKS; empty: the system's
	Algorithms       []string
	Leeway           time.Duration
	Claims           Claims
	Roles            map[string]string // from a claim's value to a role
}

// Claims are the names of a token's claims. Dots separate the parts of a path. If
// Models is empty, every token sees every model.
type Claims struct{ Subject, Roles, Models string }

// Config configures a Verifier.
type Config struct {
	Now func() time.Time
	Log *slog.Logger
	// Observe is called with the result of each fetch of an issuer's keys. It may be
	// nil.
	Observe func(issuer string, err error)

	times times // zero: the defaults
}

// Verifier verifies tokens. Run must run in another goroutine.
type Verifier struct {
	Config
	now     atomic.Pointer[table]
	changed chan struct{}
}

// table is an immutable configuration of a Verifier.
type table struct {
	issuers []*issuer
	sources map[string]source // by what they are made from
	roles   *access.Roles
	parser  *jwt.Parser
	cache   *cache
}

type issuer struct {
	Issuer
	source    source
	validator *jwt.Validator
}

// New returns a Verifier. It reads files, and Run fetches what is remote.
func New(c Config, issuers []Issuer, roles *access.Roles) (*Verifier, error) {
	if c.times == (times{}) {
		c.times = defaultTimes()
	}
	v := &Verifier{Config: c, changed: make(chan struct{}, 1)}
	v.now.Store(&table{})
	use, err := v.Prepare(issuers, roles)
	if err != nil {
		return nil, err
	}
	use()
	return v, nil
}

// Prepare checks other issuers and roles, and returns a function that makes the
// Verifier use them. Sources of keys that remain keep their keys.
func (v *Verifier) Prepare(issuers []Issuer, roles *access.Roles) (use func(), err error) {
	t := &table{sources: map[string]source{}, roles: roles, cache: newCache()}
	var algorithms []string
	for _, i := range issuers {
		for _, role := range i.Roles {
			if _, err := roles.Actions(role); err != nil {
				return nil, fmt.Errorf("tokens of %s: %w", i.Issuer, err)
			}
		}
		one := &issuer{Issuer: i, validator: jwt.NewValidator(
			jwt.WithIssuer(i.Issuer), jwt.WithAudience(i.Audience), jwt.WithExpirationRequired(), jwt.WithLeeway(i.Leeway), jwt.WithTimeFunc(v.Now),
		)}
		if one.source, err = v.source(t, i); err != nil {
			return nil, fmt.Errorf("tokens of %s: %w", i.Issuer, err)
		}
		t.issuers = append(t.issuers, one)
		algorithms = append(algorithms, i.Algorithms...)
	}
	t.parser = jwt.NewParser(jwt.WithValidMethods(algorithms), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation()) // issuer.validator validates them
	return func() {
		v.now.Store(t)
		select {
		case v.changed <- struct{}{}:
		default:
		}
	}, nil
}

// source returns the source of an issuer's keys, an existing one if possible.
func (v *Verifier) source(t *table, i Issuer) (source, error) {
	key := strings.Join([]string{i.JWKS, i.SecretFile, i.CA, strings.Join(i.Algorithms, " ")}, "\x00")
	for _, known := range []map[string]source{t.sources, v.now.Load().sources} {
		if s, ok := known[key]; ok {
			t.sources[key] = s
			return s, nil
		}
	}
	observe := func(err error) {
		if v.Observe != nil {
			v.Observe(i.Issuer, err)
		}
	}
	var s source
	var err error
	switch {
	case strings.HasPrefix(i.JWKS, "https://"):
		s, err = newRemote(i.JWKS, i.CA, i.Algorithms, v.times, v.Log, observe)
	case i.JWKS != "":
		s, err = newFile(i.JWKS, false, i.Algorithms, v.Log, observe)
	default:
		s, err = newFile(i.SecretFile, true, i.Algorithms, v.Log, observe)
	}
	if err != nil {
		return nil, err
	}
	t.sources[key] = s
	return s, nil
}

// Run keeps the keys of the issuers up to date until ctx ends.
func (v *Verifier) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	running := map[string]context.CancelFunc{}
	for {
		sources := v.now.Load().sources
		for key, cancel := range running {
			if sources[key] == nil {
				cancel()
				delete(running, key)
			}
		}
		for key, s := range sources {
			if running[key] != nil {
				continue
			}
			of, cancel := context.WithCancel(ctx)
			running[key] = cancel
			wg.Go(func() { defer cancel(); s.run(of) })
		}
		select {
		case <-ctx.Done():
			return
		case <-v.changed:
		}
	}
}

// The reasons to refuse a token. A token without a valid signature is refused
// without details.
var (
	errLarge     = errToken("large_token")
	errMalformed = errToken("malformed_token")
	errAlgorithm = errToken("token_algorithm")
	errIssuer    = errToken("token_issuer")
	errNoKey     = errToken("unknown_token_key")
	errSignature = errToken("token_signature")
	errExpired   = &access.Error{Is: access.ErrUnauthenticated, Reason: "expired_token", Public: "the token has expired: get a new one"}
	errEarly     = &access.Error{Is: access.ErrUnauthenticated, Reason: "early_token", Public: "the token is not valid yet: compare the clocks of its issuer and of this host"}
	errNoExpiry  = &access.Error{Is: access.ErrUnauthenticated, Reason: "token_without_expiry", Public: "the token never expires, and this host accepts only tokens that do: have its issuer set exp"}
	errSubject   = &access.Error{Is: access.ErrUnauthenticated, Reason: "token_subject", Public: "the token does not name its subject"}
	errClaims    = &access.Error{Is: access.ErrUnauthenticated, Reason: "token_claims", Public: "the token's roles or models have a form that this host does not read"}
)

func errToken(reason string) *access.Error {
	return &access.Error{Is: access.ErrUnauthenticated, Reason: reason, Public: "this host does not accept the token: its issuer, audience, algorithm and key must be those of the host's configuration"}
}

// Verify returns the principal of a token. The error is an *access.Error. Only a
// token with an unknown key waits for keys, for at most 2 s and until ctx ends. A
// verified token is remembered until it expires or its issuer's keys change.
func (v *Verifier) Verify(ctx context.Context, token []byte) (*access.Principal, error) {
	if len(token) > maxToken {
		return nil, errLarge
	}
	t := v.now.Load()
	sum := sha256.Sum256(token)
	now := v.Now()
	if p := t.cache.get(&sum, now); p != nil {
		return p, nil
	}
	return t.verify(ctx, string(token), &sum)
}

// verify verifies a token that is not remembered.
func (t *table) verify(ctx context.Context, token string, sum *[sha256.Size]byte) (*access.Principal, error) {
	if strings.ContainsAny(token, "\r\n") { // base64 would ignore them
		return nil, errMalformed
	}
	var by *issuer
	var generation uint64
	claims := jwt.MapClaims{}
	_, err := t.parser.ParseWithClaims(token, claims, func(parsed *jwt.Token) (any, error) {
		if by = t.issuerOf(claims); by == nil {
			return nil, errIssuer
		}
		if alg := parsed.Method.Alg(); !slices.Contains(by.Algorithms, alg) {
			return nil, errAlgorithm
		}
		var keys any
		var err error
		keys, generation, err = by.keys(ctx, parsed)
		return keys, err
	})
	if err != nil {
		return nil, reason(err)
	}
	if err := by.validator.Validate(claims); err != nil {
		return nil, reason(err)
	}
	p, err := by.principal(claims, t.roles)
	if err != nil {
		return nil, err
	}
	if exp, err := claims.GetExpirationTime(); err == nil {
		t.cache.put(sum, &verified{principal: p, until: exp.Add(by.Leeway), source: by.source, generation: generation})
	}
	return p, nil
}

// issuerOf returns the configured issuer that unverified claims name.
func (t *table) issuerOf(claims jwt.MapClaims) *issuer {
	iss, _ := claims.GetIssuer()
	audience, _ := claims.GetAudience()
	for _, i := range t.issuers {
		if i.Issuer.Issuer == iss && slices.Contains(audience, i.Audience) {
			return i
		}
	}
	return nil
}

// keys returns the keys that may verify a token. It reads only the header's
// algorithm, which was checked, and kid, which names a key of the source. It never
// uses a key or an address that a token brings.
func (i *issuer) keys(ctx context.Context, token *jwt.Token) (keys any, generation uint64, err error) {
	if _, critical := token.Header["crit"]; critical { // names extensions that this host does not understand
		return nil, 0, errMalformed
	}
	kid := ""
	if v, ok := token.Header["kid"]; ok {
		if kid, ok = v.(string); !ok || kid == "" {
			return nil, 0, errMalformed
		}
	}
	if i.SecretFile != "" {
		kid = "" // there is one secret
	}
	found, generation := i.source.find(ctx, token.Method.Alg(), kid)
	if len(found) == 0 {
		return nil, 0, errNoKey
	}
	set := jwt.VerificationKeySet{}
	for _, k := range found {
		set.Keys = append(set.Keys, k)
	}
	return set, generation, nil
}

// reason turns the library's errors into refusals.
func reason(err error) error {
	var refusal *access.Error
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.Is(err, jwt.ErrTokenMalformed):
		return errMalformed
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return errSignature
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return errNoExpiry
	case errors.Is(err, jwt.ErrTokenExpired):
		return errExpired
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return errEarly
	case errors.Is(err, jwt.ErrTokenUnverifiable):
		return errAlgorithm
	}
	return errMalformed
}
