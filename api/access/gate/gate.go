// Package gate is what every way into a host asks before it does anything: who is it, may
// they, and do they ask too often. What is refused is counted, logged and audited here, so
// that ways in do not differ.
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

// Rules are what a Gate decides by. They are not changed once they are in use.
type Rules struct {
	Authenticator *access.Authenticator
	Public        []string // paths that need no credentials
	Proxies       access.Proxies
}

// Gate lets requests in. It may be used by many goroutines.
type Gate struct {
	rules  atomic.Pointer[Rules]
	limits *limits.Limiter
	logins *limits.Logins
	audit  *audit.Log
	log    *slog.Logger

	failures, denials, limited *prometheus.CounterVec
}

// Config is what a Gate is made of.
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

// New makes a gate, and exports what it refuses.
func New(c Config) (*Gate, error) {
	g := &Gate{
		limits: c.Limits, logins: c.Logins, audit: c.Audit, log: c.Log,
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "host_logins_failed_total", Help: "Requests whose credentials were missing or wrong, by reason."}, []string{"reason"}),
		denials:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "host_actions_denied_total", Help: "Requests whose principal may not do the action."}, []string{"action"}),
		limited:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "host_requests_limited_total", Help: "Requests that came too often, by what is counted."}, []string{"class"}),
	}
	g.rules.Store(c.Rules)
	for _, m := range []prometheus.Collector{g.failures, g.denials, g.limited} {
		if err := c.Reg.Register(m); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return g, nil
}

// Set changes the rules; requests that are under way keep the old ones.
func (g *Gate) Set(r *Rules) { g.rules.Store(r) }

// Client returns the address that a request came from.
func (g *Gate) Client(peer netip.Addr, forwardedFor ...string) netip.Addr {
	return g.rules.Load().Proxies.Client(peer, forwardedFor...)
}

// Proxied reports whether a peer is a proxy that is believed, so that what it has forwarded
// must be read.
func (g *Gate) Proxied(peer netip.Addr) bool { return g.rules.Load().Proxies.Has(peer) }

// Asks reports whether anybody is asked for credentials.
func (g *Gate) Asks() bool {
	mode := g.rules.Load().Authenticator.Mode
	return mode != access.Open && mode != access.Off
}

// AsksLocal reports whether it matters that a request that shows nothing comes from this
// machine.
func (g *Gate) AsksLocal() bool { return g.rules.Load().Authenticator.Mode == access.RunKey }

// Public reports whether a path needs no credentials.
func (g *Gate) Public(path string) bool { return slices.Contains(g.rules.Load().Public, path) }

// Enter returns who asks. The error is an *access.Error; Refuse tells of it. Where the path
// is public, whoever shows nothing is a visitor.
func (g *Gate) Enter(ctx context.Context, c *access.Credentials, path string) (*access.Principal, error) {
	r := g.rules.Load()
	p, err := r.Authenticator.Authenticate(ctx, c)
	if err != nil && !c.Any() && slices.Contains(r.Public, path) {
		return r.Authenticator.Visitor(), nil
	}
	return p, err //nolint:wrapcheck // it is an *access.Error
}

// Caller is what is told of who asks, beside the principal.
type Caller struct {
	Address   netip.Addr
	RequestID string
	TraceID   string
}

// Refuse tells of credentials that were refused, and returns the error that is answered:
// the given one, or a *limits.Refusal where the address has shown many wrong ones. Whoever
// shows nothing at all has tried nothing, and is not limited.
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
	g.log.Warn("credentials refused", "reason", refusal.Reason, "address", from.Address.String(), "request_id", from.RequestID)
	_ = g.audit.Write(audit.Entry{Address: from.Address.String(), Action: action.String(), Outcome: "refused: " + refusal.Reason, RequestID: from.RequestID, TraceID: from.TraceID})
	return err
}

// Deny tells of an action that was denied, and returns the error that is answered.
func (g *Gate) Deny(err error, p *access.Principal, action access.Action, model string, from Caller) error {
	g.denials.WithLabelValues(action.String()).Inc()
	if p != nil && !p.Shown() { // everybody may fill the audit else
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

// Count counts a request. The error is a *limits.Refusal where there were too many.
func (g *Gate) Count(class limits.Class, p *access.Principal, client netip.Addr) error {
	if refusal := g.limits.Allow(class, p, client); refusal != nil {
		g.limited.WithLabelValues(refusal.Class).Inc()
		return refusal
	}
	return nil
}

// Entry is what the audit says of somebody who does something; the outcome is missing.
func (g *Gate) Entry(p *access.Principal, action access.Action, model string, from Caller) audit.Entry {
	e := audit.Entry{Address: from.Address.String(), Action: action.String(), Model: model, RequestID: from.RequestID, TraceID: from.TraceID}
	if p != nil {
		e.Principal, e.Credential = p.Name, audit.Credential{Kind: string(p.Kind), ID: p.ID}
	}
	return e
}

// Audit is where what is done is written.
func (g *Gate) Audit() *audit.Log { return g.audit }
