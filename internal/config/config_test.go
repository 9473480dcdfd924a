package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
)

// TestCheckedInFile checks that plugins.yaml at the project's root shows the
// defaults.
func TestCheckedInFile(t *testing.T) {
	c, err := config.Read(filepath.Join("..", "..", "plugins.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	c.Backends.Process, want.Backends.Process = config.Process{}, config.Process{} // the file shows an example there
	if len(c.Models.Preload) == 0 {
		c.Models.Preload = nil
	}
	if len(c.Models.Pinned) == 0 {
		c.Models.Pinned = nil
	}
	if len(c.Server.Hosts) == 0 && len(c.Server.Origins) == 0 && len(c.Server.TrustedProxies) == 0 {
		c.Server.Hosts, c.Server.Origins, c.Server.TrustedProxies = nil, nil, nil
	}
	if len(c.Backends.ONNX.Trusted) == 0 && len(c.Server.Samples.Models) == 0 {
		c.Backends.ONNX.Trusted, c.Server.Samples.Models = nil, nil
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("plugins.yaml is\n%+v\nthe defaults are\n%+v", c, want)
	}
}

func TestProblems(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"server: {prot: 1}", `line 1: server.prot: unknown key; did you mean "port"?`},
		{"server:\n  port: http", "line 2: server.port"},
		{"server: {port: 70000}", "server.port: is 70000; must be 0 to 65535"},
		{"server: {environment: prod}", "development, staging, production"},
		{"server: {tls: {cert: a}}", "server.tls: needs both cert and key"},
		{"server: {timeouts: {request: 5}}", "a duration such as"},
		{"server: {timeouts: {request: 1ms}}", "10ms to 24h"},
		{"server: {limits: {body: 1TB}}", "server.limits.body"},
		{"server: {limits: {inflight_bytes: 1KiB}}", "server.limits.inflight_bytes"},
		{"server: {hosts: [\"https://a\"]}", "without scheme, port or *"},
		{"server: {origins: [a.example]}", "such as https://example.com"},
		{"models: {cache_size: 0}", "models.cache_size"},
		{"models: {loads: -1}", "models.loads: is -1; must be 0 to 1024"},
		{"models: {cache_bytes: lots}", "a size such as"},
		{"models: {aliases: {m: {default: {a: -1}}}}", "models.aliases.m.default.a"},
		{"models: {aliases: {m: {default: {1.0.0: 1000001}}}}", "models.aliases.m.default.1.0.0: is 1000001; must be 0 to 1000000"},
		{"models: {aliases: {m: {default: {a: 1}}}}", "models.aliases.m.default.a: is neither a version nor one of the names"},
		{"models: {aliases: {m: {names: {a: 1.0.0}, default: {a: 0, latest: 0}}}}", "models.aliases.m.default: gives no version a weight"},
		{"models: {aliases: {m: {names: {latest: 1.0.0}}}}", "models.aliases.m.names.latest: is the name of the newest version"},
		{"models: {aliases: {m: {names: {2.0.0: 1.0.0}}}}", "models.aliases.m.names.2.0.0: is the name of a version"},
		{"models: {aliases: {m: {names: {a: b, b: a}}}}", `models.aliases.m.names.a: is "b"; must be a version such as 1.2.0, and not an alias`},
		{"models: {aliases: {m: {names: {a: 1.0.0+b}}}}", "must be a version such as 1.2.0"},
		{"backends: {onnx: {probe: never}}", "child, in_process"},
		{"log: {level: loud}", "log.level"},
		{"limits: {max: {memory: 1KiB}}", "limits.max.memory"},
		{"limits: {max: {timeout: 0s}}", "limits.max.timeout: is 0s; must be 10ms to 24h"},
		{"limits: {max: {processes: 65}}", "limits.max.processes: is 65; must be 1 to 64"},
		{"backends: {onnx: {trusted: [\"sha256:12\"]}}", "must be a directory, or sha256: and 64"},
		{"server: {drain: soon}", "server.drain: must be auto or a duration"},
		{"server: {drain: -1ns}", "server.drain: must be auto or a duration"},
		{"server: {drain: 2h}", "server.drain: is 2h0m0s; must be auto, or 0 to 1h"},
		{"log: {format: xml}\nserver: {port: -1}", "line 2: server.port"},
		{"a: 1\na: 2", "line 2: a"},
	} {
		_, err := config.Decode([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
	if _, err := config.Read(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if c, err := config.Decode([]byte("\n")); err != nil || !reflect.DeepEqual(c, config.Default()) {
		t.Errorf("an empty file: %v", err)
	}
}

func flags(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	config.AddFlags(f)
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestOrder checks that flags win over PYNOMALY_ variables, which win over the older
// names, which win over the file.
func TestOrder(t *testing.T) {
	file := []byte("models: {cache_size: 2, dir: from-file}\nserver: {port: 1111, workers: 1}\nlog: {level: warn}\n")
	t.Setenv("MODEL_CACHE_SIZE", "3")
	t.Setenv("WORKERS", "3")
	t.Setenv("LOG_LEVEL", "INFO")
	t.Setenv("ENVIRONMENT", "staging")
	t.Setenv("MODEL_SERVER_PORT", "2222")
	t.Setenv("PYNOMALY_MODELS_CACHE_SIZE", "4")
	t.Setenv("PYNOMALY_SERVER_PORT", "3333")
	t.Setenv("PYNOMALY_SERVER_DRAIN", "7s")
	t.Setenv("PYNOMALY_NO_SUCH_KEY", "x") // not an error: other programs use the environment
	c, err := config.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Overlay(flags(t, "--port", "4444", "--model-cache-bytes", "1GiB", "--lazy")); err != nil {
		t.Fatal(err)
	}
	got := []any{c.Models.CacheSize, c.Models.Dir, c.Server.Port, c.Server.Workers, c.Log.Level, c.Server.Environment, c.Server.Drain, c.Models.CacheBytes, c.Models.Lazy}
	want := []any{4, "from-file", 4444, 3, "info", "staging", 7 * time.Second, int64(1 << 30), true}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestBadOverlay(t *testing.T) {
	for _, c := range []struct {
		env, value, flag string
		want             string
	}{
		{"PYNOMALY_SERVER_PORT", "abc", "", "--port or PYNOMALY_SERVER_PORT"},
		{"PYNOMALY_SERVER_PORT", "99999", "", "server.port"},
		{"", "", "--model-cache-size=many", "--model-cache-size"},
		{"", "", "--env=prod", "server.environment"},
		{"PYNOMALY_SERVER_SAMPLES_TOKEN", "x", "", "PYNOMALY_SERVER_SAMPLES_TOKEN: server.samples has no token any more"},
		{"PYNOMALY_SERVER_SAMPLES_TOKEN_SHA256", "x", "", "PYNOMALY_SERVER_SAMPLES_TOKEN_SHA256: server.samples has no token any more"},
		{"PYNOMALY_AUTH_JWT", "[{isuer: x}]", "", `PYNOMALY_AUTH_JWT: line 1: jwt[0].isuer: unknown key; did you mean "issuer"?`},
		{"PYNOMALY_AUTH_JWT", "[{issuer: x}]", "", "auth.jwt[0]: needs an issuer and an audience"},
	} {
		t.Run(c.want, func(t *testing.T) {
			var args []string
			if c.env != "" {
				t.Setenv(c.env, c.value)
			}
			if c.flag != "" {
				args = append(args, c.flag)
			}
			if err := config.Default().Overlay(flags(t, args...)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"", "server: {port: 1}", "models: {aliases: {m: {names: {a: 1.0.0}, default: {a: 1}}}}", "backends: {process: {allow: [{path: x, digests: [a]}]}}", "a: &a [*a]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Decode(data)
		if err == nil && c.Validate() != nil {
			t.Errorf("what was accepted is not valid: %v", c.Validate())
		}
	})
}

// TestDrainTime checks that only a host in development without a configured drain
// stops as soon as no connection is open.
func TestDrainTime(t *testing.T) {
	for _, c := range []struct {
		text           string
		most           time.Duration
		whileConnected bool
	}{
		{"{}", 5 * time.Second, true},
		{"server: {drain: auto}", 5 * time.Second, true},
		{"server: {environment: staging}", 5 * time.Second, false},
		{"server: {environment: production}", 5 * time.Second, false},
		{"server: {drain: 3s}", 3 * time.Second, false},
		{"server: {drain: 0s}", 0, false},
	} {
		cfg, err := config.Decode([]byte(c.text))
		if err != nil {
			t.Fatal(err)
		}
		if most, whileConnected := cfg.Server.DrainTime(); most != c.most || whileConnected != c.whileConnected {
			t.Errorf("%s: %v, %v", c.text, most, whileConnected)
		}
	}
}
