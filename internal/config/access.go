package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	y "github.com/pynomaly/pynomaly-runtime/internal/strictyaml"
)

// Auth says who may use the host. Package access reads the keys and applies the
// roles.
type Auth struct {
	Mode         string // auto, on or off
	Keys         string // file of API keys; empty: none
	JWT          []JWT
	Certificates []CertificateRole
	Roles        map[string][]string // additional roles, as lists of actions
	Public       []string            // paths that need no credentials
	Anonymous    string              // role of callers without credentials; empty: they are refused
}

// The modes of Auth.
const (
	AuthAuto = "auto" // asks for credentials if any are configured or if other machines reach the host
	AuthOn   = "on"
	AuthOff  = "off"
)

// Configured reports whether credentials are configured.
func (a *Auth) Configured() bool {
	return a.Keys != "" || len(a.JWT) > 0 || len(a.Certificates) > 0 || a.Anonymous != ""
}

// JWT says which tokens are accepted and what they allow.
type JWT struct {
	Issuer, Audience string
	JWKS             string // an https URL or a file
	SecretFile       string // file of an HMAC secret
	CA               string // file of the CAs that verify the JWKS server; empty: the system's
	Algorithms       []string
	Leeway           time.Duration
	Claims           Claims
	Roles            map[string]string // from a claim's value to a role
}

// Claims are the names of a token's claims. Dots separate the parts of a path.
type Claims struct{ Subject, Roles, Models string }

// CertificateRole gives a role to client certificates.
type CertificateRole struct{ Match, Role string }

// Rates bound how many requests a caller may send.
type Rates struct {
	Enabled                             bool
	Predict, BatchPredict, ModelManaged Rate
}

// Rate is a number of requests per duration.
type Rate struct {
	Count int
	Per   time.Duration
}

// rateUnits returns the units of a Rate.
func rateUnits() map[string]time.Duration {
	return map[string]time.Duration{"second": time.Second, "minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}
}

const aRate = "a rate such as 100/minute, by second, minute, hour or day"

// ParseRate reads a rate such as 100/minute.
func ParseRate(v string) (Rate, error) {
	count, unit, _ := strings.Cut(v, "/")
	n, err := strconv.Atoi(strings.TrimSpace(count))
	per, ok := rateUnits()[strings.TrimSpace(unit)]
	if err != nil || !ok || n < 1 || n > 1e9 {
		return Rate{}, fmt.Errorf("%.60q is not %s", v, aRate)
	}
	return Rate{n, per}, nil
}

// String writes the rate as ParseRate reads it.
func (r Rate) String() string {
	for unit, per := range rateUnits() {
		if per == r.Per {
			return strconv.Itoa(r.Count) + "/" + unit
		}
	}
	return fmt.Sprintf("%d in %v", r.Count, r.Per)
}

// AdminListener is a second address for operators.
type AdminListener struct{ Listen string } // host:port; empty: none

// Audit configures the audit: the record of what was done to the host.
type Audit struct {
	File        string // a file, - (standard output) or syslog; empty: no audit
	Required    bool   // refuse an action if its audit record cannot be written
	Predictions bool
	Rotate      int64 // size of a file in bytes at which the next begins
}

// AuditOutput is the Audit.File of standard output.
const AuditOutput = "-"

// AuditSyslog is the Audit.File of the system's log.
const AuditSyslog = "syslog"

func (c *Config) accessDefaults() {
	c.Auth = Auth{Mode: AuthAuto, Public: []string{"/health", "/ready", "/metrics"}, Roles: map[string][]string{}}
	c.Rates = Rates{Predict: Rate{100, time.Minute}, BatchPredict: Rate{10, time.Minute}, ModelManaged: Rate{50, time.Hour}}
	c.Audit = Audit{Rotate: 100 << 20}
}

func (a *Auth) fields() y.Fields {
	return y.Fields{
		"mode": y.String(&a.Mode), "keys": y.String(&a.Keys), "public": replaced(&a.Public), "anonymous": y.String(&a.Anonymous),
		"jwt": y.List(func(int) y.Field {
			a.JWT = append(a.JWT, JWT{Leeway: 30 * time.Second, Claims: Claims{Subject: "sub", Roles: "roles"}, Roles: map[string]string{}})
			return y.Object(a.JWT[len(a.JWT)-1].fields())
		}),
		"certificates": y.List(func(int) y.Field {
			a.Certificates = append(a.Certificates, CertificateRole{})
			r := &a.Certificates[len(a.Certificates)-1]
			return y.Object(y.Fields{"match": y.String(&r.Match), "role": y.String(&r.Role)})
		}),
		"roles": y.Map(func(name string) y.Field {
			return into(a.Roles, name, y.Strings)
		}),
	}
}

func (j *JWT) fields() y.Fields {
	return y.Fields{
		"issuer": y.String(&j.Issuer), "audience": y.String(&j.Audience), "jwks": y.String(&j.JWKS), "secret_file": y.String(&j.SecretFile), "ca": y.String(&j.CA),
		"algorithms": y.Strings(&j.Algorithms), "leeway": y.Duration(&j.Leeway), "roles": y.StringMap(&j.Roles),
		"claims": y.Object(y.Fields{"subject": y.String(&j.Claims.Subject), "roles": y.String(&j.Claims.Roles), "models": y.String(&j.Claims.Models)}),
	}
}

func (r *Rates) fields() y.Fields {
	return y.Fields{
		"predict": y.Parsed(&r.Predict, ParseRate, aRate), "batch_predict": y.Parsed(&r.BatchPredict, ParseRate, aRate),
		"model_management": y.Parsed(&r.ModelManaged, ParseRate, aRate),
	}
}

func (a *Audit) fields() y.Fields {
	return y.Fields{"file": y.String(&a.File), "required": y.Bool(&a.Required), "predictions": y.Bool(&a.Predictions), "rotate": y.Bytes(&a.Rotate)}
}

// replaced reads a list that replaces the default.
func replaced(to *[]string) y.Field {
	return func(d *y.Decoder, n *yaml.Node, path *y.Path) {
		*to = nil
		y.Strings(to)(d, n, path)
	}
}

type problems func(path, format string, args ...any)

func (c *Config) checkAccess(problem problems) {
	a := &c.Auth
	if !slices.Contains([]string{AuthAuto, AuthOn, AuthOff}, a.Mode) {
		problem("auth.mode", "is %q; must be one of auto, on, off", a.Mode)
	}
	if a.Mode == AuthOn && !a.Configured() {
		problem("auth.mode", "is on, and no credentials are configured: set auth.keys, auth.jwt, auth.certificates or auth.anonymous")
	}
	for i := range a.JWT {
		a.JWT[i].check(func(key, format string, args ...any) { problem(fmt.Sprintf("auth.jwt[%d]%s", i, key), format, args...) }, a)
		if slices.ContainsFunc(a.JWT[:i], func(o JWT) bool { return o.Issuer == a.JWT[i].Issuer && o.Audience == a.JWT[i].Audience }) {
			problem(fmt.Sprintf("auth.jwt[%d]", i), "has the same issuer and audience as another one")
		}
	}
	for i, r := range a.Certificates {
		at := fmt.Sprintf("auth.certificates[%d]", i)
		if r.Match == "" {
			problem(at+".match", "is missing: write for example CN=scraper, DNS:scraper.example.com or URI:spiffe://example.com/scraper")
		}
		a.checkRole(problem, at+".role", r.Role)
	}
	if len(a.Certificates) > 0 && c.Server.TLS.ClientCA == "" {
		problem("auth.certificates", "needs server.tls.client_ca: the CAs that verify client certificates")
	}
	if c.Server.TLS.ClientCA != "" && c.Server.TLS.Cert == "" {
		problem("server.tls.client_ca", "needs server.tls.cert and key")
	}
	if a.Anonymous != "" {
		a.checkRole(problem, "auth.anonymous", a.Anonymous)
	}
	for _, path := range a.Public {
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "*?# ") {
			problem("auth.public", "has %q; must be a path such as /health", path)
		}
	}
	for _, p := range c.Server.TrustedProxies {
		if _, err := ParsePrefix(p); err != nil {
			problem("server.trusted_proxies", "has %q; must be an address or a network such as 10.0.0.0/8", p)
		}
	}
	c.checkAdminAndAudit(problem)
}

func (c *Config) checkAdminAndAudit(problem problems) {
	if listen := c.Admin.Listen; listen != "" {
		_, port, err := net.SplitHostPort(listen)
		if n, wrong := strconv.Atoi(port); err != nil || wrong != nil || n < 0 || n > 65535 {
			problem("admin.listen", "is %q; must be an address and a port such as 127.0.0.1:9091", listen)
		}
	}
	if c.Audit.Required && c.Audit.File == "" {
		problem("audit.required", "needs audit.file: the file of the audit")
	}
	if c.Audit.Rotate != 0 && c.Audit.Rotate < 64<<10 {
		problem("audit.rotate", "is %d bytes; must be 0 (never) or at least 64KiB", c.Audit.Rotate)
	}
}

// checkRole reports a role that is neither built in nor in auth.roles.
func (a *Auth) checkRole(problem problems, path, role string) {
	all := append([]string{"viewer", "operator", "admin", "controller"}, slices.Sorted(maps.Keys(a.Roles))...)
	if !slices.Contains(all, role) {
		problem(path, "is %q; must be one of %s", role, strings.Join(all, ", "))
	}
}

// ParsePrefix parses a network, or an address as a network of one address.
func ParsePrefix(v string) (netip.Prefix, error) {
	if strings.Contains(v, "/") {
		p, err := netip.ParsePrefix(v)
		return p.Masked(), err //nolint:wrapcheck // it says all
	}
	a, err := netip.ParseAddr(v)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, errors.Join(err, errors.New("an address without a zone is needed"))
	}
	return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
}

// The algorithms of signatures: those with a secret that the issuer and the host
// share, and those with a key whose public half the host has.
var (
	secretAlgorithms = []string{"HS256", "HS384", "HS512"}
	publicAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)

func (j *JWT) check(problem problems, a *Auth) {
	if j.Issuer == "" || j.Audience == "" {
		problem("", "needs an issuer and an audience: the host accepts only tokens that were issued for it")
	}
	algorithms := publicAlgorithms
	switch {
	case (j.JWKS == "") == (j.SecretFile == ""):
		problem("", "needs either jwks or secret_file")
	case j.SecretFile != "":
		algorithms = secretAlgorithms
	case strings.Contains(j.JWKS, "://"):
		if u, err := url.Parse(j.JWKS); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
			problem(".jwks", "is %q; must be an https URL or a file", j.JWKS)
		}
	}
	if len(j.Algorithms) == 0 {
		problem(".algorithms", "is missing: name the algorithms of the issuer, of %s", strings.Join(algorithms, ", "))
	}
	for _, alg := range j.Algorithms {
		if !slices.Contains(algorithms, alg) {
			problem(".algorithms", "has %q; must be of %s", alg, strings.Join(algorithms, ", "))
		}
	}
	if j.Leeway < 0 || j.Leeway > 5*time.Minute {
		problem(".leeway", "is %v; must be 0 to 5m", j.Leeway)
	}
	if j.Claims.Subject == "" || j.Claims.Roles == "" {
		problem(".claims", "needs subject and roles")
	}
	if len(j.Roles) == 0 {
		problem(".roles", "is missing: say which role each value of the claim %s gives", j.Claims.Roles)
	}
	for value, role := range j.Roles {
		a.checkRole(problem, ".roles."+value, role)
	}
}
