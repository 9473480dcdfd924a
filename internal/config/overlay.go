package config

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"

	y "github.com/pynomaly/pynomaly-runtime/internal/strictyaml"
)

// delimiter separates the parts of viper's keys. A dot would not do, because names
// may contain dots.
const delimiter = "::"

// Prefix is the prefix of every environment variable.
const Prefix = "PYNOMALY_"

// setting is a scalar that an environment variable and a flag may set.
type setting struct {
	key   string // as in the file: models.cache_size
	flag  string // empty: none
	older string // another environment variable, which ranks below
	help  string
	value
}

// value reads and shows a setting.
type value struct {
	kind string // type that help shows
	set  func(c *Config, v string) error
	get  func(c *Config) string
}

// env returns the name of the setting's environment variable.
func (s setting) env() string {
	return Prefix + strings.ToUpper(strings.ReplaceAll(s.key, ".", "_"))
}

// settings returns every scalar of the file.
func settings() []setting {
	return slices.Concat(accessSettings(), serverSettings(), otherSettings(), traceSettings())
}

func serverSettings() []setting {
	return []setting{
		{key: "server.host", flag: "host", help: "address to listen on", value: text(func(c *Config) *string { return &c.Server.Host })},
		{key: "server.port", flag: "port", older: "MODEL_SERVER_PORT", help: "port to listen on; 0: a free one", value: number(func(c *Config) *int { return &c.Server.Port })},
		{key: "server.workers", flag: "workers", older: "WORKERS", help: "calls into detectors at the same time; 0: one per processor", value: number(func(c *Config) *int { return &c.Server.Workers })},
		{key: "server.environment", flag: "env", older: "ENVIRONMENT", help: "development, staging or production", value: text(func(c *Config) *string { return &c.Server.Environment })},
		{key: "server.drain", flag: "drain", help: "how long to serve after SIGTERM; auto: 5s, in development only while connections are open", value: scalar("duration", func(c *Config) *time.Duration { return &c.Server.Drain }, parseDrain, showDrain)},
		{key: "server.insecure", flag: "insecure", help: "disable authentication: everybody may do everything", value: truth(func(c *Config) *bool { return &c.Server.Insecure })},
		{key: "server.hosts", flag: "hosts", help: "host names that requests may carry, besides addresses and localhost, separated by commas", value: scalar("strings", func(c *Config) *[]string { return &c.Server.Hosts }, splitList, joinList)},
		{key: "server.origins", flag: "origins", help: "origins of pages that may use the host, such as https://example.com, separated by commas", value: scalar("strings", func(c *Config) *[]string { return &c.Server.Origins }, splitList, joinList)},
		{key: "server.tls.cert", flag: "tls-cert", help: "file of the TLS certificate", value: text(func(c *Config) *string { return &c.Server.TLS.Cert })},
		{key: "server.tls.key", flag: "tls-key", help: "file of the TLS key", value: text(func(c *Config) *string { return &c.Server.TLS.Key })},
		{key: "server.limits.body", flag: "body-limit", help: "largest body of a request", value: size(func(c *Config) *int64 { return &c.Server.Limits.Body })},
		{key: "server.limits.rows", flag: "row-limit", help: "largest number of rows in a request", value: number(func(c *Config) *int { return &c.Server.Limits.Rows })},
		{key: "server.limits.inflight_bytes", flag: "inflight-bytes", help: "bytes of all requests and answers held at the same time; 0: as memory allows", value: size(func(c *Config) *int64 { return &c.Server.Limits.Inflight })},
		{key: "server.limits.waiting_rows", flag: "waiting-rows", help: "rows of all requests that wait or are being scored; 0: as memory allows", value: number(func(c *Config) *int { return &c.Server.Limits.Waiting })},
		{key: "server.limits.connections", flag: "connections", help: "connections open at the same time; 0: as descriptors allow", value: number(func(c *Config) *int { return &c.Server.Limits.Connections })},
		{key: "server.samples.size", flag: "samples", help: "rows to keep of each version, to compare other versions with it; 0: none", value: number(func(c *Config) *int { return &c.Server.Samples.Size })},
		{key: "server.samples.models", flag: "sample-models", help: "models whose rows are kept, separated by commas; empty: all", value: scalar("strings", func(c *Config) *[]string { return &c.Server.Samples.Models }, splitList, joinList)},
		{key: "server.timeouts.request", flag: "request-timeout", help: "longest time for one request", value: duration(func(c *Config) *time.Duration { return &c.Server.Timeouts.Request })},
		{key: "server.timeouts.shutdown", flag: "shutdown-timeout", help: "longest wait for running requests when stopping", value: duration(func(c *Config) *time.Duration { return &c.Server.Timeouts.Shutdown })},
	}
}

func otherSettings() []setting {
	return []setting{
		{key: "models.dir", flag: "models", help: "directory of models", value: text(func(c *Config) *string { return &c.Models.Dir })},
		{key: "models.cache_size", flag: "model-cache-size", older: "MODEL_CACHE_SIZE", help: "most models loaded at once", value: number(func(c *Config) *int { return &c.Models.CacheSize })},
		{key: "models.cache_bytes", flag: "model-cache-bytes", help: "most memory of loaded models (estimated); 0: no limit", value: size(func(c *Config) *int64 { return &c.Models.CacheBytes })},
		{key: "models.default", flag: "default-model", help: "model that answers requests that name none", value: text(func(c *Config) *string { return &c.Models.Default })},
		{key: "models.only", flag: "only", help: "serve <model>@<version>[=sha256:<content digest>] only, several separated by commas; the host is ready when they are loaded", value: scalar("strings", func(c *Config) *[]string { return &c.Models.Only }, splitList, joinList)},
		{key: "models.rescan", flag: "rescan", help: "how often to check the models directory if the file system notifies no changes", value: duration(func(c *Config) *time.Duration { return &c.Models.Rescan })},
		{key: "models.allow_empty", flag: "allow-empty", help: "remove all models if the models directory becomes empty", value: truth(func(c *Config) *bool { return &c.Models.AllowEmpty })},
		{key: "models.loads", flag: "model-loads", help: "largest number of models that load at the same time; 0: one per processor", value: number(func(c *Config) *int { return &c.Models.Loads })},
		{key: "models.immutable", flag: "immutable", help: "refuse a changed artifact under the same version", value: truth(func(c *Config) *bool { return &c.Models.Immutable })},
		{key: "models.lazy", flag: "lazy", help: "load models on first use only", value: truth(func(c *Config) *bool { return &c.Models.Lazy })},
		{key: "limits.max.timeout", flag: "max-timeout", help: "longest time for one call that a manifest may set", value: duration(func(c *Config) *time.Duration { return &c.Limits.Max.Timeout })},
		{key: "limits.max.load_timeout", flag: "max-load-timeout", help: "longest time for loading that a manifest may set", value: duration(func(c *Config) *time.Duration { return &c.Limits.Max.LoadTimeout })},
		{key: "limits.max.max_batch_rows", flag: "max-batch-rows", help: "most rows of one call that a manifest may set", value: number(func(c *Config) *int { return &c.Limits.Max.MaxBatchRows })},
		{key: "limits.max.memory", flag: "max-memory", help: "most memory that a manifest may set", value: size(func(c *Config) *int64 { return &c.Limits.Max.Memory })},
		{key: "limits.max.processes", flag: "max-processes", help: "most processes of a plugin that a manifest may set", value: number(func(c *Config) *int { return &c.Limits.Max.Processes })},
		{key: "limits.max.bytes", flag: "max-model-bytes", help: "most bytes of all files of a model", value: size(func(c *Config) *int64 { return &c.Limits.Max.Bytes })},
		{key: "backends.onnx.enabled", flag: "onnx", help: "serve ONNX models", value: truth(func(c *Config) *bool { return &c.Backends.ONNX.Enabled })},
		{key: "backends.onnx.library", flag: "onnxruntime", help: "file of ONNX Runtime's shared library; empty: search beside the binary and in the system", value: text(func(c *Config) *string { return &c.Backends.ONNX.Library })},
		{key: "backends.onnx.forests", flag: "onnx-forests", help: "graphs that are forests or search for neighbours: auto (the host itself scores those that it proved equal to the graph), off or only", value: text(func(c *Config) *string { return &c.Backends.ONNX.Forests })},
		{key: "backends.onnx.probe", flag: "onnx-probe", help: "where ONNX models are checked before they load: child or in_process", value: text(func(c *Config) *string { return &c.Backends.ONNX.Probe })},
		{key: "backends.onnx.trusted", flag: "onnx-trusted", help: "digests and directories of ONNX models whose operators may make outputs of any size, separated by commas", value: scalar("strings", func(c *Config) *[]string { return &c.Backends.ONNX.Trusted }, splitList, joinList)},
		{key: "backends.wasm.enabled", flag: "wasm", help: "serve WASM plugins", value: truth(func(c *Config) *bool { return &c.Backends.WASM.Enabled })},
		{key: "backends.wasm.cache_dir", flag: "wasm-cache-dir", help: "directory (mode 0700) for compiled plugins; empty: a private one for this run", value: text(func(c *Config) *string { return &c.Backends.WASM.CacheDir })},
		{key: "backends.wasm.max_memory", flag: "wasm-max-memory", help: "most memory of one instance of a plugin", value: size(func(c *Config) *int64 { return &c.Backends.WASM.MaxMemory })},
		{key: "state_dir", flag: "state-dir", help: "directory for what the host remembers; empty: the user's state directory", value: text(func(c *Config) *string { return &c.StateDir })},
		{key: "log.level", flag: "log-level", older: "LOG_LEVEL", help: "debug, info, warn or error", value: scalar("string", func(c *Config) *string { return &c.Log.Level }, lower, show)},
		{key: "log.format", flag: "log-format", help: "json or text", value: text(func(c *Config) *string { return &c.Log.Format })},
		{key: "log.sample", flag: "log-sample", help: "log one of this many predictions; 1: all. Failures are always logged", value: number(func(c *Config) *int { return &c.Log.Sample })},
	}
}

func text(at func(*Config) *string) value { return scalar("string", at, read, show) }

func number(at func(*Config) *int) value { return scalar("int", at, strconv.Atoi, strconv.Itoa) }

func duration(at func(*Config) *time.Duration) value {
	return scalar("duration", at, time.ParseDuration, time.Duration.String)
}

func size(at func(*Config) *int64) value { return scalar("bytes", at, y.ParseBytes, showBytes) }

func truth(at func(*Config) *bool) value {
	return scalar("bool", at, strconv.ParseBool, strconv.FormatBool)
}

func rate(at func(*Config) *Rate) value { return scalar("rate", at, ParseRate, Rate.String) }

// scalar returns a value that reads and shows the field that at returns.
func scalar[T any](kind string, at func(*Config) *T, read func(string) (T, error), show func(T) string) value {
	return value{
		kind: kind,
		set: func(c *Config, text string) error {
			v, err := read(text)
			if err != nil {
				return fmt.Errorf("%q cannot be read: %w", text, err)
			}
			*at(c) = v
			return nil
		},
		get: func(c *Config) string { return show(*at(c)) },
	}
}
func read(v string) (string, error) { return v, nil }

func lower(v string) (string, error) { return strings.ToLower(v), nil }

func show(v string) string { return v }

func showDrain(d time.Duration) string {
	if d == DrainAuto {
		return "auto"
	}
	return d.String()
}

// showBytes formats a size so that y.ParseBytes can parse it.
func showBytes(n int64) string {
	for _, unit := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n > 0 && n%unit.size == 0 {
			return strconv.FormatInt(n/unit.size, 10) + unit.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// splitList parses names that commas separate.
func splitList(v string) ([]string, error) {
	var out []string
	for name := range strings.SplitSeq(v, ",") {
		if name = strings.TrimSpace(name); name != "" {
			out = append(out, name)
		}
	}
	return out, nil
}

func joinList(v []string) string { return strings.Join(v, ",") }

// into returns a field that reads one key of a map.
func into[T any](m map[string]T, key string, take func(*T) y.Field) y.Field {
	return func(d *y.Decoder, n *yaml.Node, path *y.Path) {
		var v T
		take(&v)(d, n, path)
		m[key] = v
	}
}

// AddFlags adds a flag for every setting, or only for the named settings.
func AddFlags(flags *pflag.FlagSet, only ...string) {
	wanted := map[string]bool{}
	for _, o := range only {
		wanted[o] = true
	}
	defaults := Default()
	for _, s := range settings() {
		if s.flag == "" || len(only) > 0 && !wanted[s.flag] {
			continue
		}
		f := &flagValue{kind: s.kind, text: s.get(defaults)}
		help := fmt.Sprintf("%s (%s)", s.help, s.env())
		if f.text == "0" || f.text == "0s" || f.text == "false" {
			help += " (default " + f.text + ")" // pflag does not show these
		}
		flag := flags.VarPF(f, s.flag, "", help)
		if s.kind == "bool" {
			flag.NoOptDefVal = "true"
		}
	}
}

// flagValue is the text of a flag, which Overlay reads.
type flagValue struct{ kind, text string }

// String implements pflag.Value.
func (f *flagValue) String() string { return f.text }

// Set implements pflag.Value.
func (f *flagValue) Set(v string) error { f.text = v; return nil }

// Type implements pflag.Value.
func (f *flagValue) Type() string { return f.kind }

// Overlay applies environment variables and then flags on top of the file's values,
// and validates the result.
func (c *Config) Overlay(flags *pflag.FlagSet) error {
	for _, name := range []string{Prefix + "SERVER_SAMPLES_TOKEN", Prefix + "SERVER_SAMPLES_TOKEN_SHA256"} {
		if os.Getenv(name) != "" {
			return fmt.Errorf("%s: server.samples %s", name, noToken)
		}
	}
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
			name := s.env()
			if s.flag != "" {
				name = "--" + s.flag + " or " + name
			}
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return c.Validate()
}
