// Package config reads plugins.yaml, strictly, and applies environment variables and
// flags on top.
//
// It checks single values. Whoever uses a value finds out whether a directory exists
// or a port is free.
package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	y "github.com/pynomaly/pynomaly-runtime/internal/strictyaml"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// Config is the content of plugins.yaml, with defaults for what it leaves out.
type Config struct {
	Server   Server
	Models   Models
	Limits   ModelLimits
	Auth     Auth
	Rates    Rates // limits.enabled and limits.rates
	Admin    AdminListener
	Audit    Audit
	Backends Backends
	StateDir string
	Log      Log
	Traces   Traces
}

// Server configures how requests are received.
type Server struct {
	Host        string
	Port        int
	Workers     int // calls into detectors at the same time; 0: one per processor
	Environment string
	Drain       time.Duration // DrainAuto: see DrainTime
	TLS         TLS
	Limits      Limits
	Timeouts    Timeouts
	Samples     Samples
	Insecure    bool
	Hosts       []string // host names that requests may carry, besides addresses and localhost
	Origins     []string // origins of pages that may use the host, besides its own
	// TrustedProxies are the addresses and networks whose X-Forwarded-For is
	// trusted.
	TrustedProxies []string
}

// DrainAuto is the drain of a host whose configuration sets none.
const DrainAuto time.Duration = -1

// autoDrain is how long such a host drains at most.
const autoDrain = 5 * time.Second

// DrainTime returns how long the host continues to serve after it was told to stop,
// and whether it stops earlier if no connection is open. Only a host in development
// without a configured drain stops earlier.
func (s Server) DrainTime() (most time.Duration, whileConnected bool) {
	if s.Drain == DrainAuto {
		return autoDrain, s.Environment == "development"
	}
	return s.Drain, false
}

// parseDrain parses a duration or auto.
func parseDrain(v string) (time.Duration, error) {
	if v == "auto" {
		return DrainAuto, nil
	}
	d, err := time.ParseDuration(v)
	if err == nil && d < 0 {
		err = errors.New("it is negative")
	}
	return d, err
}

// TLS names the files of a certificate and its key, both or none, and of the CAs
// that verify client certificates. HSTS is how long browsers must use TLS only; 0:
// they are not told.
type TLS struct {
	Cert, Key, ClientCA string
	HSTS                time.Duration
}

// Limits bound a request and all requests together. Fit chooses Inflight, Waiting
// and Connections if they are 0.
type Limits struct {
	Body        int64 // bytes per request
	Rows        int   // per request
	Inflight    int64 // bytes of all requests and answers held at the same time
	Waiting     int   // rows of all requests that wait or are being scored
	Connections int   // open at the same time
}

// Timeouts bound the time of a request and of a shutdown.
type Timeouts struct{ Request, Shutdown time.Duration }

// Models says which models are served and how they are kept.
type Models struct {
	Dir        string
	CacheSize  int
	CacheBytes int64
	Default    string
	Preload    []string
	Only       []string
	Pinned     []string
	Rescan     time.Duration
	AllowEmpty bool // an emptied directory removes all models
	Immutable  bool
	Lazy       bool
	Loads      int // at the same time; 0: one per processor
	Aliases    map[string]Alias
}

// ModelLimits bound what manifests may set.
type ModelLimits struct{ Max manifest.Maxima }

// Backends configures what opens artifacts.
type Backends struct {
	ONNX    ONNX
	WASM    WASM
	Process Process
}

// ONNX configures ONNX Runtime.
type ONNX struct {
	Enabled bool
	Library string
	Forests string   // auto, off or only
	Probe   string   // child or in_process
	Trusted []string // digests of graphs, and directories
}

// WASM configures WASM modules.
type WASM struct {
	Enabled   bool
	CacheDir  string
	MaxMemory int64
}

// Process configures plugins that run as processes.
type Process struct {
	Enabled bool
	Allow   []Allowed
	User    string
	Env     map[string]string
	Cgroup  string
}

// Allowed is a directory whose models may run programs, and the digests of those
// programs.
type Allowed struct {
	Path    string
	Digests []string
}

// Log configures the log's level and format, and of how many predictions one is
// logged.
type Log struct {
	Level, Format string
	Sample        int
}

// StrictTransport returns for how long browsers must use TLS only; 0 without TLS.
func (t *TLS) StrictTransport() time.Duration {
	if t.Cert == "" {
		return 0
	}
	return t.HSTS
}

// Production is the environment in which calls from the same machine are not
// trusted.
const Production = "production"

// The largest numbers of calls and of loaded models that may be configured.
const (
	MaxWorkers   = 1024
	MaxCacheSize = 100000
)

// Environments returns the environments that a host may be in.
func Environments() []string { return []string{"development", "staging", Production} }

// LogLevels returns the levels of the log, the most talkative first.
func LogLevels() []string { return []string{"debug", "info", "warn", "error"} }

const year = 365 * 24 * time.Hour

// Default returns the configuration of an empty file.
func Default() *Config {
	c := &Config{
		Server: Server{
			Host: "127.0.0.1", Port: 8080, Environment: "development", Drain: DrainAuto,
			TLS:      TLS{HSTS: year},
			Limits:   Limits{Body: 32 << 20, Rows: 10000},
			Timeouts: Timeouts{Request: 30 * time.Second, Shutdown: 30 * time.Second},
		},
		Models: Models{Dir: "models", CacheSize: 16, CacheBytes: 2 << 30, Rescan: 5 * time.Second, Aliases: map[string]Alias{}},
		Limits: ModelLimits{Max: manifest.DefaultMaxima()},
		Backends: Backends{
			ONNX: ONNX{Enabled: true, Forests: "auto", Probe: "child"}, WASM: WASM{Enabled: true, MaxMemory: 256 << 20},
		},
		Log:    Log{Level: "info", Format: "json", Sample: 1},
		Traces: Traces{Protocol: TracesGRPC, Ratio: 0.01},
	}
	c.accessDefaults()
	return c
}

// Read reads a file; defaults fill in what it leaves out. The error lists every
// problem with its line.
func Read(file string) (*Config, error) {
	data, err := readFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	c, err := Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

// Decode is Read for the contents of a plugins.yaml.
func Decode(data []byte) (*Config, error) {
	c := Default()
	if len(strings.TrimSpace(string(data))) == 0 {
		return c, nil
	}
	s, m, b, most := &c.Server, &c.Models, &c.Backends, &c.Limits.Max
	d := y.Decode(data, y.Fields{
		"server": y.Object(y.Fields{
			"host": y.String(&s.Host), "port": y.Int(&s.Port), "workers": y.Int(&s.Workers), "environment": y.String(&s.Environment),
			"drain": y.Parsed(&s.Drain, parseDrain, "auto or a duration such as 500ms or 10s"), "insecure": y.Bool(&s.Insecure),
			"hosts": y.Strings(&s.Hosts), "origins": y.Strings(&s.Origins),
			"tls":             y.Object(y.Fields{"cert": y.String(&s.TLS.Cert), "key": y.String(&s.TLS.Key), "client_ca": y.String(&s.TLS.ClientCA), "hsts": y.Duration(&s.TLS.HSTS)}),
			"trusted_proxies": y.Strings(&s.TrustedProxies),
			"limits": y.Object(y.Fields{
				"body": y.Bytes(&s.Limits.Body), "rows": y.Int(&s.Limits.Rows), "inflight_bytes": y.Bytes(&s.Limits.Inflight),
				"waiting_rows": y.Int(&s.Limits.Waiting), "connections": y.Int(&s.Limits.Connections),
			}),
			"samples":  y.Object(y.Fields{"size": y.Int(&s.Samples.Size), "models": y.Strings(&s.Samples.Models), "token": tokenOf(s), "token_sha256": tokenOf(s)}),
			"timeouts": y.Object(y.Fields{"request": y.Duration(&s.Timeouts.Request), "shutdown": y.Duration(&s.Timeouts.Shutdown)}),
		}),
		"models": y.Object(y.Fields{
			"dir": y.String(&m.Dir), "cache_size": y.Int(&m.CacheSize), "cache_bytes": y.Bytes(&m.CacheBytes),
			"default": y.String(&m.Default), "preload": y.Strings(&m.Preload), "only": y.Strings(&m.Only), "pinned": y.Strings(&m.Pinned),
			"rescan": y.Duration(&m.Rescan), "immutable": y.Bool(&m.Immutable), "lazy": y.Bool(&m.Lazy),
			"allow_empty": y.Bool(&m.AllowEmpty), "loads": y.Int(&m.Loads),
			"aliases": y.Map(m.alias),
		}),
		"auth": y.Object(c.Auth.fields()), "admin": y.Object(y.Fields{"listen": y.String(&c.Admin.Listen)}), "audit": y.Object(c.Audit.fields()),
		"limits": y.Object(y.Fields{"enabled": y.Bool(&c.Rates.Enabled), "rates": y.Object(c.Rates.fields()), "max": y.Object(y.Fields{
			"timeout": y.Duration(&most.Timeout), "load_timeout": y.Duration(&most.LoadTimeout), "max_batch_rows": y.Int(&most.MaxBatchRows),
			"memory": y.Bytes(&most.Memory), "processes": y.Int(&most.Processes), "bytes": y.Bytes(&most.Bytes),
		})}),
		"backends": y.Object(y.Fields{
			"onnx": y.Object(y.Fields{"enabled": y.Bool(&b.ONNX.Enabled), "library": y.String(&b.ONNX.Library), "forests": y.String(&b.ONNX.Forests), "probe": y.String(&b.ONNX.Probe), "trusted": y.Strings(&b.ONNX.Trusted)}),
			"wasm": y.Object(y.Fields{"enabled": y.Bool(&b.WASM.Enabled), "cache_dir": y.String(&b.WASM.CacheDir), "max_memory": y.Bytes(&b.WASM.MaxMemory)}),
			"process": y.Object(y.Fields{"enabled": y.Bool(&b.Process.Enabled), "user": y.String(&b.Process.User), "env": y.StringMap(&b.Process.Env), "cgroup": y.String(&b.Process.Cgroup), "allow": y.List(func(int) y.Field {
				b.Process.Allow = append(b.Process.Allow, Allowed{})
				a := &b.Process.Allow[len(b.Process.Allow)-1]
				return y.Object(y.Fields{"path": y.String(&a.Path), "digests": y.Strings(&a.Digests)})
			})}),
		}),
		"state_dir": y.String(&c.StateDir),
		"log":       y.Object(y.Fields{"level": y.String(&c.Log.Level), "format": y.String(&c.Log.Format), "sample": y.Int(&c.Log.Sample)}),
		"traces":    y.Object(c.Traces.fields()),
	})
	c.check(d.Problemf)
	if err := d.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

// Validate checks a configuration that was changed after Read.
func (c *Config) Validate() error {
	var problems []string
	c.check(func(path, format string, args ...any) {
		problems = append(problems, path+": "+fmt.Sprintf(format, args...))
	})
	if problems != nil {
		return fmt.Errorf("configuration: %s", strings.Join(problems, "; "))
	}
	return nil
}

func (c *Config) check(problem func(path, format string, args ...any)) {
	oneOf := func(path, v string, choices ...string) {
		if !slices.Contains(choices, v) {
			problem(path, "is %q; must be one of %s", v, strings.Join(choices, ", "))
		}
	}
	within := func(path string, v, least, most int64) {
		if v < least || v > most {
			problem(path, "is %d; must be %d to %d", v, least, most)
		}
	}
	c.Server.check(problem, oneOf, within)
	most := c.Limits.Max
	within("limits.max.max_batch_rows", int64(most.MaxBatchRows), 1, manifest.MaxRowsPerCall)
	within("limits.max.memory", most.Memory, 1<<20, 1<<50)
	within("limits.max.processes", int64(most.Processes), 1, manifest.MaxProcesses)
	within("limits.max.bytes", most.Bytes, 1<<10, 1<<50)
	durations := map[string]time.Duration{
		"limits.max.timeout": most.Timeout, "limits.max.load_timeout": most.LoadTimeout,
		"server.timeouts.request": c.Server.Timeouts.Request, "server.timeouts.shutdown": c.Server.Timeouts.Shutdown, "models.rescan": c.Models.Rescan,
	}
	for path, v := range durations {
		if v < 10*time.Millisecond || v > 24*time.Hour {
			problem(path, "is %v; must be 10ms to 24h", v)
		}
	}
	within("models.cache_size", int64(c.Models.CacheSize), 1, MaxCacheSize)
	within("models.loads", int64(c.Models.Loads), 0, 1024)
	within("models.cache_bytes", c.Models.CacheBytes, 0, 1<<50)
	for id, a := range c.Models.Aliases {
		a.check("models.aliases."+id, problem)
	}
	oneOf("backends.onnx.forests", c.Backends.ONNX.Forests, "auto", "off", "only")
	oneOf("backends.onnx.probe", c.Backends.ONNX.Probe, "child", "in_process")
	c.Backends.checkTrust(problem)
	c.checkAccess(problem)
	oneOf("log.level", c.Log.Level, LogLevels()...)
	oneOf("log.format", c.Log.Format, "json", "text")
	within("log.sample", int64(c.Log.Sample), 1, 1000000)
	c.Traces.check(problem)
}

// check reports problems in the server's settings.
func (s *Server) check(problem func(path, format string, args ...any), oneOf func(path, v string, choices ...string), within func(path string, v, least, most int64)) {
	oneOf("server.environment", s.Environment, Environments()...)
	within("server.port", int64(s.Port), 0, 65535)
	within("server.workers", int64(s.Workers), 0, MaxWorkers)
	within("server.samples.size", int64(s.Samples.Size), 0, 10000)
	if s.Samples.token != "" {
		problem("server.samples", "%s", noToken)
	}
	within("server.limits.body", s.Limits.Body, 1<<10, 1<<30)
	within("server.limits.rows", int64(s.Limits.Rows), 1, 1000000)
	within("server.limits.waiting_rows", int64(s.Limits.Waiting), 0, 1<<30)
	within("server.limits.connections", int64(s.Limits.Connections), 0, 1<<20)
	if n := s.Limits.Inflight; n != 0 {
		within("server.limits.inflight_bytes", n, 1<<20, 1<<50)
	}
	if (s.TLS.Cert == "") != (s.TLS.Key == "") {
		problem("server.tls", "needs both cert and key")
	}
	if s.TLS.HSTS < 0 || s.TLS.HSTS > 10*year || s.TLS.HSTS%time.Second != 0 {
		problem("server.tls.hsts", "is %v; must be whole seconds, 0s to 87600h", s.TLS.HSTS)
	}
	for _, name := range s.Hosts {
		if !validHostName(name) {
			problem("server.hosts", "has %q; must be a name in lower case, without scheme, port or *", name)
		}
	}
	for _, origin := range s.Origins {
		if origin == "*" {
			problem("server.origins", "has *, which would let every page that a user looks at use the host: list the origins")
		} else if scheme, rest, ok := strings.Cut(origin, "://"); !ok || scheme == "" || rest == "" || strings.ContainsAny(rest, "/* ") {
			problem("server.origins", "has %q; must be a scheme and a host, such as https://example.com", origin)
		}
	}
	if s.Drain != DrainAuto && (s.Drain < 0 || s.Drain > time.Hour) {
		problem("server.drain", "is %v; must be auto, or 0 to 1h", s.Drain)
	}
}

// checkTrust checks the settings that name trusted models and programs.
func (b *Backends) checkTrust(problem func(path, format string, args ...any)) {
	for _, one := range b.ONNX.Trusted {
		if one == "" || strings.HasPrefix(one, "sha256:") && !manifest.ValidDigest(one) {
			problem("backends.onnx.trusted", "has %q; must be a directory, or sha256: and 64 lower-case hex digits", one)
		}
	}
	for i, a := range b.Process.Allow {
		if a.Path == "" {
			problem(fmt.Sprintf("backends.process.allow[%d].path", i), "is missing: name the directory whose models may run programs")
		}
		for _, digest := range a.Digests {
			if !manifest.ValidDigest(digest) {
				problem(fmt.Sprintf("backends.process.allow[%d].digests", i), "has %q; must be sha256: and 64 lower-case hex digits", digest)
			}
		}
	}
	if p := b.Process; p.Enabled && len(p.Allow) == 0 {
		problem("backends.process.allow", "is empty: name the directories whose models may run programs, such as {path: models/trusted}, or disable the backend")
	}
}
