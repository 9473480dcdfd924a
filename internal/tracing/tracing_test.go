package tracing_test

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/tracing"
)

func open(t *testing.T, change func(*config.Traces)) (*tracing.Tracing, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	tr, err := tracing.New(tracing.Config{Version: "test", Random: func() uint64 { return 0 }, Now: time.Now, Log: slog.New(slog.DiscardHandler), Reg: reg})
	if err != nil {
		t.Fatal(err)
	}
	use, err := reload(tr, change)
	if err != nil {
		t.Fatal(err)
	}
	use(t.Context())
	return tr, reg
}

func reload(tr *tracing.Tracing, change func(*config.Traces)) (func(context.Context), error) {
	cfg := config.Default()
	cfg.Traces.Ratio = 1
	change(&cfg.Traces)
	return tr.Reload(cfg)
}

// silent accepts connections and never answers.
func silent(t *testing.T) string {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var all []net.Conn
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			all = append(all, c)
			mu.Unlock()
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
		for _, c := range all {
			_ = c.Close()
		}
	})
	return "http://" + ln.Addr().String()
}

// TestCollectorIsDown checks that requests do not wait for a collector that is down
// or does not answer, and that the end waits no longer than it may.
func TestCollectorIsDown(t *testing.T) {
	for name, endpoint := range map[string]string{"refuses": "http://127.0.0.1:1", "silent": silent(t)} {
		for _, protocol := range []string{config.TracesGRPC, config.TracesHTTP} {
			t.Run(name+", "+protocol, func(t *testing.T) {
				tr, reg := open(t, func(c *config.Traces) { c.Endpoint, c.Protocol = endpoint, protocol })
				const spans = 20000 // several times what may wait
				for range spans {
					s := tr.Source().Begin(nil, "a request")
					s.Child("a part").End()
					s.End()
				}
				if got := value(t, reg, "host_trace_spans_total"); got != 2*spans {
					t.Errorf("%v spans were made", got)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				_ = tr.Close(ctx) // it may or may not have given up before
				if tr.Source().Begin(nil, "late").Recorded() {
					t.Error("it still records")
				}
				if got := value(t, reg, "host_trace_spans_sent_total"); got != 0 {
					t.Errorf("%v spans were sent", got)
				}
			})
		}
	}
}

func value(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}

// TestReload turns traces on and off again, and refuses what cannot be used.
func TestReload(t *testing.T) {
	tr, _ := open(t, func(*config.Traces) {})
	records := func() bool { return tr.Source().Begin(nil, "a request").Recorded() }
	if records() {
		t.Error("it records without an endpoint")
	}
	if _, err := reload(tr, func(c *config.Traces) {
		c.Endpoint, c.CA = "https://127.0.0.1:1", filepath.Join(t.TempDir(), "none.pem")
	}); err == nil || !strings.Contains(err.Error(), "traces.ca") {
		t.Errorf("a missing file of CAs: %v", err)
	}
	for _, step := range []struct {
		name   string
		change func(*config.Traces)
		want   bool
	}{
		{"on", func(c *config.Traces) { c.Endpoint = "http://127.0.0.1:1" }, true},
		{"none of the requests", func(c *config.Traces) { c.Endpoint, c.Ratio = "http://127.0.0.1:1", 0 }, false},
		{"on again", func(c *config.Traces) { c.Endpoint = "http://127.0.0.1:1" }, true},
		{"unchanged", func(c *config.Traces) { c.Endpoint = "http://127.0.0.1:1" }, true},
		{"off", func(*config.Traces) {}, false},
	} {
		use, err := reload(tr, step.change)
		if err != nil {
			t.Fatal(err)
		}
		use(t.Context())
		if records() != step.want {
			t.Errorf("%s: records %v", step.name, records())
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := tr.Close(ctx); err != nil {
		t.Error(err)
	}
}
