// Package entrance builds from a configuration what decides who may use a host:
// keys, tokens, certificates, roles, limits and the audit. They follow the
// configuration as it changes.
//
// Package api/access checks the credentials.
package entrance

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/api/access/gate"
	"github.com/pynomaly/pynomaly-runtime/api/access/keys"
	"github.com/pynomaly/pynomaly-runtime/api/access/limits"
	"github.com/pynomaly/pynomaly-runtime/api/access/tokens"
	"github.com/pynomaly/pynomaly-runtime/api/audit"
	"github.com/pynomaly/pynomaly-runtime/internal/config"
)

// Entrance decides who may use the host. It is safe for concurrent use.
type Entrance struct {
	*gate.Gate
	log      *slog.Logger
	loopback bool
	address  net.Addr
	audit    *audit.Log
	limits   *limits.Limiter
	tokens   *tokens.Verifier
	sources  *prometheus.GaugeVec

	cfg      atomic.Pointer[config.Config] // the configuration in use
	runKey   *keys.Set
	keys     *keys.Followed // nil: there is no file of keys
	keysFile string
	follow   context.Context // ends when the host stops following files
	stop     context.CancelFunc
	running  sync.WaitGroup
	stopKeys context.CancelFunc
}

// Config configures an Entrance.
type Config struct {
	Address  net.Addr  // of the host
	Loopback bool      // only this machine reaches it
	Output   io.Writer // of an audit to standard output
	Log      *slog.Logger
	Reg      prometheus.Registerer
}

// Open returns an entrance. The caller must close it after the last request.
func Open(ctx context.Context, c Config, cfg *config.Config) (*Entrance, error) {
	e := &Entrance{
		log: c.Log, loopback: c.Loopback, address: c.Address, limits: limits.New(limits.Rates{}, time.Now), stopKeys: func() {},
		sources: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "host_credentials_read_successful", Help: "1 if the last attempt to read or fetch the keys succeeded, else 0."}, []string{"source"}),
	}
	if err := c.Reg.Register(e.sources); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	var err error
	if e.audit, err = openAudit(cfg.Audit, c.Output, e.log, c.Reg); err != nil {
		return nil, err
	}
	e.follow, e.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := e.begin(c, cfg); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// Close stops following files and tokens' keys, and closes the audit.
func (e *Entrance) Close() error {
	e.stop()
	e.running.Wait()
	return e.audit.Close()
}

func (e *Entrance) begin(c Config, cfg *config.Config) (err error) {
	if e.tokens, err = tokens.New(tokens.Config{Now: time.Now, Log: e.log, Observe: e.sourceRead}, nil, nil); err != nil {
		return err
	}
	rules, use, err := e.prepare(cfg)
	if err != nil {
		return err
	}
	e.Gate, err = gate.New(gate.Config{Rules: rules, Limits: e.limits, Logins: limits.NewLogins(time.Now), Audit: e.audit, Log: e.log, Reg: c.Reg})
	if err != nil {
		return err
	}
	use()
	e.cfg.Store(cfg)
	e.running.Go(func() { e.tokens.Run(e.follow) })
	return e.audit.Write(audit.Entry{Action: "start", Outcome: "ok"})
}

func openAudit(cfg config.Audit, out io.Writer, log *slog.Logger, reg prometheus.Registerer) (*audit.Log, error) {
	if cfg.File == "" {
		return nil, nil
	}
	failed := prometheus.NewCounter(prometheus.CounterOpts{Name: "host_audit_lines_failed_total", Help: "Lines of the audit that could not be written."})
	if err := reg.Register(failed); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	c := audit.Config{Rotate: cfg.Rotate, Required: cfg.Required, Now: time.Now, Log: log, Observe: func(err error) {
		if err != nil {
			failed.Inc()
		}
	}}
	switch cfg.File {
	case config.AuditOutput:
		c.Output = out
	case config.AuditSyslog:
		var err error
		if c.Output, err = audit.NewSyslog(); err != nil {
			return nil, err
		}
	default:
		c.File = cfg.File
	}
	return audit.Open(c)
}

// sourceRead records the result of reading keys.
func (e *Entrance) sourceRead(source string, err error) {
	if err != nil {
		e.sources.WithLabelValues(source).Set(0)
		return
	}
	e.sources.WithLabelValues(source).Set(1)
}

// mode returns which callers need credentials, and the role of callers without any.
func mode(cfg *config.Config, loopback bool) (m access.Mode, anonymous string, err error) {
	switch {
	case cfg.Server.Insecure || cfg.Auth.Mode == config.AuthOff:
		return access.Off, "", nil
	case cfg.Auth.Configured():
		return access.Configured, cfg.Auth.Anonymous, nil
	case loopback && cfg.Server.Environment == config.Production:
		// A caller may be a proxy, so nobody is taken for this machine's operator.
		return access.Configured, access.RoleViewer, nil
	case loopback:
		return access.Open, "", nil
	case cfg.Server.Environment == config.Production:
		return 0, "", errors.New("the address is open to others, the environment is production, and no credentials are configured: make a key with\n" +
			"  pynomaly-runtime key create --role admin --file keys.yaml\n" +
			"and start with --auth-keys keys.yaml, or set auth.jwt or auth.certificates; --insecure lets everybody do everything")
	}
	return access.RunKey, "", nil
}

// prepare checks the access settings of a configuration. It returns the rules, and a
// function that makes everything else follow the configuration.
func (e *Entrance) prepare(cfg *config.Config) (rules *gate.Rules, use func(), err error) {
	m, anonymous, err := mode(cfg, e.loopback)
	if err != nil {
		return nil, nil, err
	}
	roles, err := access.NewRoles(cfg.Auth.Roles)
	if err != nil {
		return nil, nil, fmt.Errorf("auth.roles: %w", err)
	}
	followed, useKeys, err := e.prepareKeys(cfg.Auth.Keys, roles)
	if err != nil {
		return nil, nil, fmt.Errorf("auth.keys: %w", err)
	}
	useTokens, err := e.tokens.Prepare(issuers(cfg.Auth.JWT), roles)
	if err != nil {
		return nil, nil, fmt.Errorf("auth.jwt: %w", err)
	}
	a := access.Config{Mode: m, Now: time.Now}
	if a.Certificates, err = certificates(cfg.Auth.Certificates, roles); err != nil {
		return nil, nil, fmt.Errorf("auth.certificates: %w", err)
	}
	if anonymous != "" {
		if a.Anonymous, err = access.Nobody(anonymous, roles); err != nil {
			return nil, nil, fmt.Errorf("auth.anonymous: %w", err)
		}
	}
	if len(cfg.Auth.JWT) > 0 {
		a.Tokens = e.tokens
	}
	if a.Keys = followed; followed == nil {
		a.Keys = nil
	}
	if m == access.RunKey {
		if a.Keys, err = e.keyOfRun(roles); err != nil {
			return nil, nil, err
		}
	}
	rules = &gate.Rules{Authenticator: access.NewAuthenticator(a), Public: cfg.Auth.Public}
	for _, text := range cfg.Server.TrustedProxies {
		p, err := config.ParsePrefix(text)
		if err != nil {
			return nil, nil, fmt.Errorf("server.trusted_proxies: %w", err)
		}
		rules.Proxies = append(rules.Proxies, p)
	}
	return rules, func() { useKeys(); useTokens(); e.limits.Set(rates(cfg.Rates)); e.warn(m) }, nil
}

// Reload checks a changed configuration, and returns a function that applies it.
func (e *Entrance) Reload(cfg *config.Config) (func(context.Context), error) {
	rules, use, err := e.prepare(cfg)
	return func(context.Context) { use(); e.Set(rules); e.cfg.Store(cfg) }, err
}

// Current returns the configuration in use.
func (e *Entrance) Current() *config.Config { return e.cfg.Load() }

// Reloaded records in the audit whether a configuration was applied.
func (e *Entrance) Reloaded(err error) {
	entry := audit.Entry{Action: "reload", Outcome: "ok"}
	if err != nil {
		entry.Outcome = "refused"
	}
	_ = e.audit.Write(entry)
}

// prepareKeys returns the keys of a file, and a function that makes the entrance
// follow it.
func (e *Entrance) prepareKeys(file string, roles *access.Roles) (*keys.Followed, func(), error) {
	if file == e.keysFile && e.keys != nil {
		use, err := e.keys.Prepare(roles)
		return e.keys, use, err
	}
	var next *keys.Followed
	if file != "" {
		var err error
		next, err = keys.Open(file, roles, e.log, func(err error) {
			e.sourceRead("keys", err)
			if err == nil {
				_ = e.audit.Write(audit.Entry{Action: "keys_changed", Outcome: "ok"})
			}
		})
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: make it with pynomaly-runtime key create --role admin --file %s", err, file)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return next, func() {
		e.stopKeys()
		e.keys, e.keysFile, e.stopKeys = next, file, func() {}
		if next != nil {
			e.sourceRead("keys", nil)
			ctx, cancel := context.WithCancel(e.follow)
			e.stopKeys = cancel
			e.running.Go(func() { next.Run(ctx) })
		}
	}, nil
}

// keyOfRun returns the only key of a host without configured credentials. It is
// printed when it is made, and stored nowhere.
func (e *Entrance) keyOfRun(roles *access.Roles) (access.Keys, error) {
	if e.runKey != nil {
		return e.runKey, nil
	}
	key, set, err := keys.ForRun(rand.Reader, roles)
	if err != nil {
		return nil, err
	}
	e.runKey = set
	e.log.Warn("no credentials are configured and the address is open to others: everybody but callers on this machine needs the admin key of this run, "+
		"as X-API-Key or Authorization: Bearer; pynomaly-runtime key create makes lasting ones", "address", e.address.String(), "admin_key", key)
	return set, nil
}

// warn logs a warning if everybody may do everything.
func (e *Entrance) warn(m access.Mode) {
	if m == access.Off && !e.loopback {
		e.log.Warn("authentication is disabled and the address is open to others: everybody may do everything", "address", e.address.String())
	}
}
