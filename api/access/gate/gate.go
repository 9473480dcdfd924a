// Package gate decides for every entrance of a host who the caller is, whether it
// may do the action, and whether it asks too often. It counts, logs and audits
// refusals, so that all entrances do the same.
package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/api/access/limits"
	"github.com/pynomaly/pynomaly-runtime/api/audit"
)

// Rules are what a Gate decides by. They must not be changed once in use.
type Rules struct {
	Authenticator *access.Authenticator
	Public        []string // paths that need no credentials
	Proxies       access.Proxies
}

// Gate lets requests in. It is safe for concurrent use.
type Gate struct {
	rules  atomic.Pointer[Rules]
	limits *limits.Limiter
	logins *limits.Logins
	audit  *audit.Log
	log    *slog.Logger

	failures, denials, limited *prometheus.CounterVec
}

// Config configures a Gate.
type Config struct {
	Rules  *Rules
	Limits *limits.Limiter
	Logins *limits.Logins
	Audit  *audit.Log // nil: nothing is audited
	Log    *slog.Logger
	Reg    prometheus.Registerer
}

// Open returns a gate that lets everybody do everything.
func Open(now func() time.Time, log *slog.Logger) (*Gate, error) {
	return New(Config{
		Rules:  &Rules{Authenticator: access.NewAuthenticator(access.Config{Mode: access.Open, Now: now})},
		Limits: limits.New(limits.Rates{}, now), Logins: limits.NewLogins(now), Log: log, Reg: prometheus.NewRegistry(),
	})
}

// New returns a gate, and exports metrics of its refusals.
func New(c Config) (*Gate, error) {
	g := &Gate{
		limits: c.Limits, logins: c.Logins, audit: c.Audit, log: c.Log,
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "host_logins_failed_total", Help: "Requests whose credentials were missing or wrong, by reason."}, []string{"reason"}),
		denials:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "host_actions_denied_total", Help: "Requests whose principal may not do the action."}, []string{"action"}),
		limited:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "host_requests_limited_total", Help: "Requests above a rate limit, by class."}, []string{"class"}),
	}
	g.rules.Store(c.Rules)
	for _, m := range []prometheus.Collector{g.failures, g.denials, g.limited} {
		if err := c.Reg.Register(m); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return g, nil
}

// Set changes the rules. Requests under way keep the old rules.
func (g *Gate) Set(r *Rules) { g.rules.Store(r) }

// Client returns the address that a request came from.
func (g *Gate) Client(peer netip.Addr, forwardedFor ...string) netip.Addr {
	return g.rules.Load().Proxies.Client(peer, forwardedFor...)
}

// Proxied reports whether a peer is a trusted proxy, whose forwarding headers must
// be read.
func (g *Gate) Proxied(peer netip.Addr) bool { return g.rules.Load().Proxies.Has(peer) }

// Asks reports whether callers need credentials.
func (g *Gate) Asks() bool {
	mode := g.rules.Load().Authenticator.Mode
	return mode != access.Open && mode != access.Off
}

// AsksLocal reports whether it matters that a request without credentials comes from
// this machine.
func (g *Gate) AsksLocal() bool { return g.rules.Load().Authenticator.Mode == access.RunKey }

// Public reports whether a path needs no credentials.
func (g *Gate) Public(path string) bool { return slices.Contains(g.rules.Load().Public, path) }

// Enter returns the caller. The error is an *access.Error, which must be passed to
// Refuse. On a public path, a caller without credentials is a visitor.
func (g *Gate) Enter(ctx context.Context, c *access.Credentials, path string) (*access.Principal, error) {
	r := g.rules.Load()
	p, err := r.Authenticator.Authenticate(ctx, c)
	if err != nil && !c.Any() && slices.Contains(r.Public, path) {
		return r.Authenticator.Visitor(), nil
	}
	return p, err //nolint:wrapcheck // it is an *access.Error
}

// Caller describes the caller, besides the principal, in logs and the audit.
type Caller struct {
	Address   netip.Addr
	RequestID string
	TraceID   string
}

// Refuse records refused credentials, and returns the error to answer with: the
// given one, or a *limits.Refusal if the address has shown many wrong credentials.
// Callers without any credential are not limited.
func (g *Gate) Refuse(err error, shown bool, action access.Action, from Caller) error {
	var refusal *access.Error
	if !errors.As(err, &refusal) {
		return err
	}
	g.failures.WithLabelValues(refusal.Reason).Inc()
	if !shown {
		return err
	}
	if limited := g.logins.Failed(from.Address); limited != nil {
		g.limited.WithLabelValues(limited.Class).Inc()
		return limited
	}
	line := []any{"reason", refusal.Reason, "address", from.Address.String(), "request_id", from.RequestID}
	if from.TraceID != "" {
		line = append(line, "trace_id", from.TraceID)
	}
	g.log.Warn("credentials refused", line...)
	_ = g.audit.Write(audit.Entry{Address: from.Address.String(), Action: action.String(), Outcome: "refused: " + refusal.Reason, RequestID: from.RequestID, TraceID: from.TraceID})
	return err
}

// Deny records that an action was denied, and returns the error to answer with.
func (g *Gate) Deny(err error, p *access.Principal, action access.Action, model string, from Caller) error {
	g.denials.WithLabelValues(action.String()).Inc()
	if p != nil && !p.Shown() { // otherwise anybody could fill the audit
		if limited := g.logins.Failed(from.Address); limited != nil {
			g.limited.WithLabelValues(limited.Class).Inc()
			return limited
		}
	}
	e := g.Entry(p, action, model, from)
	e.Outcome = "denied"
	_ = g.audit.Write(e)
	return err
}

// Counts reports whether requests of a class are counted.
func (g *Gate) Counts(class limits.Class) bool { return g.limits.Counts(class) }

// Count counts a request. The error is a *limits.Refusal if there were too many.
func (g *Gate) Count(class limits.Class, p *access.Principal, client netip.Addr) error {
	if refusal := g.limits.Allow(class, p, client); refusal != nil {
		g.limited.WithLabelValues(refusal.Class).Inc()
		return refusal
	}
	return nil
}

// Entry returns an audit entry without its outcome.
func (g *Gate) Entry(p *access.Principal, action access.Action, model string, from Caller) audit.Entry {
	e := audit.Entry{Address: from.Address.String(), Action: action.String(), Model: model, RequestID: from.RequestID, TraceID: from.TraceID}
	if p != nil {
		e.Principal, e.Credential = p.Name, audit.Credential{Kind: string(p.Kind), ID: p.ID}
	}
	return e
}

// Audit returns the audit.
func (g *Gate) Audit() *audit.Log { return g.audit }
