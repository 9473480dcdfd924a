package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"

	y "github.com/pynomaly/pynomaly-runtime/internal/strictyaml"
)

// delimiter separates the parts of viper's keys; a dot could be part of a name.
const delimiter = "::"

// Prefix begins the name of every environment variable.
const Prefix = "PYNOMALY_"

// setting is a scalar that environment variables and flags may set.
type setting struct {
	key   string // as in the file: models.cache_size
	flag  string // empty: none
	older string // another environment variable, of lower rank
	short string
	help  string
	set   func(c *Config, v string) error
	bool  bool
}

// env is the name of the setting's environment variable.
func (s setting) env() string {
	return Prefix + strings.ToUpper(strings.ReplaceAll(s.key, ".", "_"))
}

// settings lists every scalar of the file, once.
func settings() []setting {
	text := func(at func(*Config) *string) func(*Config, string) error {
		return func(c *Config, v string) error { *at(c) = v; return nil }
	}
	number := func(at func(*Config) *int) func(*Config, string) error { return parse(at, strconv.Atoi) }
	duration := func(at func(*Config) *time.Duration) func(*Config, string) error {
		return parse(at, time.ParseDuration)
	}
	size := func(at func(*Config) *int64) func(*Config, string) error { return parse(at, y.ParseBytes) }
	truth := func(at func(*Config) *bool) func(*Config, string) error { return parse(at, strconv.ParseBool) }
	return []setting{
		{key: "server.host", flag: "host", help: "address to listen on", set: text(func(c *Config) *string { return &c.Server.Host })},
		{key: "server.port", flag: "port", older: "MODEL_SERVER_PORT", help: "port to listen on; 0: a free one", set: number(func(c *Config) *int { return &c.Server.Port })},
		{key: "server.workers", flag: "workers", older: "WORKERS", help: "rows are scored in so many calls at once; 0: one a processor", set: number(func(c *Config) *int { return &c.Server.Workers })},
		{key: "server.environment", flag: "env", older: "ENVIRONMENT", help: "development, staging or production", set: text(func(c *Config) *string { return &c.Server.Environment })},
		{key: "server.drain", flag: "drain", help: "how long to go on serving after SIGTERM", set: duration(func(c *Config) *time.Duration { return &c.Server.Drain })},
		{key: "server.insecure", flag: "insecure", bool: true, help: "let everybody load and unload models", set: truth(func(c *Config) *bool { return &c.Server.Insecure })},
		{key: "server.hosts", flag: "hosts", help: "names under which the host is asked, beside addresses and localhost, with commas between", set: func(c *Config, v string) error { c.Server.Hosts = splitList(v); return nil }},
		{key: "server.origins", flag: "origins", help: "origins of pages that may use the host, such as https://example.com, with commas between", set: func(c *Config, v string) error { c.Server.Origins = splitList(v); return nil }},
		{key: "server.tls.cert", flag: "tls-cert", help: "file of the TLS certificate", set: text(func(c *Config) *string { return &c.Server.TLS.Cert })},
		{key: "server.tls.key", flag: "tls-key", help: "file of the TLS key", set: text(func(c *Config) *string { return &c.Server.TLS.Key })},
		{key: "server.limits.body", flag: "body-limit", help: "largest body of a request", set: size(func(c *Config) *int64 { return &c.Server.Limits.Body })},
		{key: "server.limits.rows", flag: "row-limit", help: "most rows in a request", set: number(func(c *Config) *int { return &c.Server.Limits.Rows })},
		{key: "server.limits.inflight_bytes", flag: "inflight-bytes", help: "bytes of all requests and answers held at once; 0: as memory allows", set: size(func(c *Config) *int64 { return &c.Server.Limits.Inflight })},
		{key: "server.limits.waiting_rows", flag: "waiting-rows", help: "rows of all requests that wait or are scored at once; 0: as memory allows", set: number(func(c *Config) *int { return &c.Server.Limits.Waiting })},
		{key: "server.limits.connections", flag: "connections", help: "connections open at once; 0: as descriptors allow", set: number(func(c *Config) *int { return &c.Server.Limits.Connections })},
		{key: "server.samples.size", flag: "samples", help: "rows kept of each version for comparing others with it; 0: none", set: number(func(c *Config) *int { return &c.Server.Samples.Size })},
		{key: "server.samples.token", set: text(func(c *Config) *string { return &c.Server.Samples.Token })}, // no flag: everybody sees a process's arguments
		{key: "server.timeouts.request", flag: "request-timeout", help: "longest time for one request", set: duration(func(c *Config) *time.Duration { return &c.Server.Timeouts.Request })},
		{key: "server.timeouts.shutdown", flag: "shutdown-timeout", help: "longest wait for running requests when stopping", set: duration(func(c *Config) *time.Duration { return &c.Server.Timeouts.Shutdown })},
		{key: "models.dir", flag: "models", help: "directory of models", set: text(func(c *Config) *string { return &c.Models.Dir })},
		{key: "models.cache_size", flag: "model-cache-size", older: "MODEL_CACHE_SIZE", help: "most models loaded at once", set: number(func(c *Config) *int { return &c.Models.CacheSize })},
		{key: "models.cache_bytes", flag: "model-cache-bytes", help: "most memory of loaded models (estimated); 0: no limit", set: size(func(c *Config) *int64 { return &c.Models.CacheBytes })},
		{key: "models.default", flag: "default-model", help: "model that answers where a request names none", set: text(func(c *Config) *string { return &c.Models.Default })},
		{key: "models.only", flag: "only", help: "serve <model>@<version>[=sha256:<content digest>] only, several with commas between; ready when they have loaded", set: func(c *Config, v string) error { c.Models.Only = splitList(v); return nil }},
		{key: "models.rescan", flag: "rescan", help: "how often to look at the models directory where nothing is notified", set: duration(func(c *Config) *time.Duration { return &c.Models.Rescan })},
		{key: "models.immutable", flag: "immutable", bool: true, help: "refuse a changed artifact under the same version", set: truth(func(c *Config) *bool { return &c.Models.Immutable })},
		{key: "models.lazy", flag: "lazy", bool: true, help: "load models on first use only", set: truth(func(c *Config) *bool { return &c.Models.Lazy })},
		{key: "backends.onnx.enabled", flag: "onnx", bool: true, help: "serve ONNX models", set: truth(func(c *Config) *bool { return &c.Backends.ONNX.Enabled })},
		{key: "backends.onnx.library", flag: "onnxruntime", help: "file of ONNX Runtime's shared library", set: text(func(c *Config) *string { return &c.Backends.ONNX.Library })},
		{key: "backends.onnx.probe", flag: "onnx-probe", help: "where ONNX models are proved before they load: child or in_process", set: text(func(c *Config) *string { return &c.Backends.ONNX.Probe })},
		{key: "backends.wasm.enabled", flag: "wasm", bool: true, help: "serve WASM plugins", set: truth(func(c *Config) *bool { return &c.Backends.WASM.Enabled })},
		{key: "backends.wasm.cache_dir", flag: "wasm-cache-dir", help: "directory (0700) that keeps compiled plugins; empty: a private one for this run", set: text(func(c *Config) *string { return &c.Backends.WASM.CacheDir })},
		{key: "backends.wasm.max_memory", flag: "wasm-max-memory", help: "most memory of one instance of a plugin", set: size(func(c *Config) *int64 { return &c.Backends.WASM.MaxMemory })},
		{key: "state_dir", flag: "state-dir", help: "directory for what the host remembers", set: text(func(c *Config) *string { return &c.StateDir })},
		{key: "log.level", flag: "log-level", older: "LOG_LEVEL", help: "debug, info, warn or error", set: func(c *Config, v string) error { c.Log.Level = strings.ToLower(v); return nil }},
		{key: "log.format", flag: "log-format", help: "json or text", set: text(func(c *Config) *string { return &c.Log.Format })},
	}
}

// splitList reads names with commas between.
func splitList(v string) []string {
	var out []string
	for name := range strings.SplitSeq(v, ",") {
		if name = strings.TrimSpace(name); name != "" {
			out = append(out, name)
		}
	}
	return out
}

func parse[T any](at func(*Config) *T, read func(string) (T, error)) func(*Config, string) error {
	return func(c *Config, v string) error {
		value, err := read(v)
		if err != nil {
			return fmt.Errorf("%q cannot be read: %w", v, err)
		}
		*at(c) = value
		return nil
	}
}

// into lets take fill one key of a map.
func into[T any](m map[string]T, key string, take func(*T) y.Field) y.Field {
	return func(d *y.Decoder, n *yaml.Node, path *y.Path) {
		var v T
		take(&v)(d, n, path)
		m[key] = v
	}
}

// AddFlags adds a flag for every setting, or for those named only.
func AddFlags(flags *pflag.FlagSet, only ...string) {
	wanted := map[string]bool{}
	for _, o := range only {
		wanted[o] = true
	}
	for _, s := range settings() {
		if s.flag == "" || len(only) > 0 && !wanted[s.flag] {
			continue
		}
		help := fmt.Sprintf("%s (%s)", s.help, s.env())
		if s.bool {
			flags.Bool(s.flag, false, help)
		} else {
			flags.StringP(s.flag, s.short, "", help)
		}
	}
}

// Overlay lays environment variables and then flags over what the file says, and
// checks the result.
func (c *Config) Overlay(flags *pflag.FlagSet) error {
	v := viper.NewWithOptions(viper.KeyDelimiter(delimiter))
	for _, s := range settings() {
		key := strings.ReplaceAll(s.key, ".", delimiter)
		names := []string{key, s.env()}
		if s.older != "" {
			names = append(names, s.older)
		}
		if err := v.BindEnv(names...); err != nil {
			return fmt.Errorf("binding %s: %w", s.env(), err)
		}
		if f := flags.Lookup(s.flag); s.flag != "" && f != nil && f.Changed {
			v.Set(key, f.Value.String())
		}
		if !v.IsSet(key) {
			continue
		}
		if err := s.set(c, v.GetString(key)); err != nil {
			return fmt.Errorf("--%s or %s: %w", s.flag, s.env(), err)
		}
	}
	return c.Validate()
}
