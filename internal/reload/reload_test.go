package reload

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
)

var errBad = errors.New("bad")

// part returns a reloader that records what it applied. It refuses a default model
// with its own name.
func part(name string, taken *[]string) Reloader {
	return Reloader{Name: name, Prepare: func(c *config.Config) (func(context.Context), error) {
		if strings.Contains(c.Models.Default, name) {
			return nil, errBad
		}
		return func(context.Context) { *taken = append(*taken, name+"="+c.Models.Default) }, nil
	}}
}

// metrics returns whether the last reload succeeded, when one last did, and how many of
// each result there were.
func metrics(t *testing.T, reg *prometheus.Registry) string {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range families {
		if f.GetName() == "config_reloads_total" {
			for _, m := range f.GetMetric() {
				out = append(out, fmt.Sprintf("%s %v", m.GetLabel()[0].GetValue(), m.GetCounter().GetValue()))
			}
			continue
		}
		out = append(out, fmt.Sprintf("%s %v", strings.TrimPrefix(f.GetName(), "config_last_reload_"), f.GetMetric()[0].GetGauge().GetValue()))
	}
	return strings.Join(out, ", ")
}

// TestAllOrNothing checks that if one part cannot be applied, none is, wherever it
// is in the list, and that the error names it.
func TestAllOrNothing(t *testing.T) {
	now := time.Unix(100, 0)
	var taken []string
	var text string
	var unreadable error
	reg := prometheus.NewRegistry()
	l, err := New(Config{
		Read: func() (*config.Config, error) {
			c := config.Default()
			c.Models.Default = text
			return c, unreadable
		},
		Reloaders: []Reloader{part("first", &taken), part("second", &taken), part("third", &taken)},
		Now:       func() time.Time { return now }, Log: slog.New(slog.DiscardHandler),
	}, config.Default(), reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text       string
		unreadable error
		named      []string // in the error
		metrics    string
	}{
		{"good", nil, nil, "success_timestamp_seconds 101, successful 1, applied 1, refused 0"},
		{"first", nil, []string{"first"}, "success_timestamp_seconds 101, successful 0, applied 1, refused 1"},
		{"second and third", nil, []string{"second", "third"}, "success_timestamp_seconds 101, successful 0, applied 1, refused 2"},
		{"third", nil, []string{"third"}, "success_timestamp_seconds 101, successful 0, applied 1, refused 3"},
		{"good", errBad, []string{""}, "success_timestamp_seconds 101, successful 0, applied 1, refused 4"},
		{"better", nil, nil, "success_timestamp_seconds 106, successful 1, applied 2, refused 4"},
	} {
		now = now.Add(time.Second)
		taken, text, unreadable = nil, c.text, c.unreadable
		err := l.Reload(t.Context())
		if c.named == nil {
			if want := []string{"first=" + c.text, "second=" + c.text, "third=" + c.text}; err != nil || !slices.Equal(taken, want) {
				t.Errorf("%s: %q, %v; want %q", c.text, taken, err, want)
			}
		} else if !errors.Is(err, errBad) || len(taken) > 0 {
			t.Errorf("%s: %v, and applied are %q", c.text, err, taken)
		}
		for _, name := range c.named {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("%q does not name %s", err, name)
			}
		}
		if got := metrics(t, reg); got != c.metrics {
			t.Errorf("%s: %s, want %s", c.text, got, c.metrics)
		}
	}
}

// TestFollow checks that a changed file is applied once, after it has stopped
// changing, and that without a file to follow only SIGHUP counts.
func TestFollow(t *testing.T) {
	for _, follow := range []bool{true, false} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			file := filepath.Join(dir, "followed")
			write := func(text string) {
				t.Helper()
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write("1")
			var reads atomic.Int64
			signals := make(chan os.Signal)
			c := Config{
				File: filepath.Join(dir, "not there"), Signals: signals, Now: time.Now, Log: slog.New(slog.DiscardHandler),
				Read: func() (*config.Config, error) { reads.Add(1); return config.Default(), nil },
			}
			if follow {
				c.Follow = func(*config.Config) []string { return []string{file} }
			}
			l, err := New(c, config.Default(), prometheus.NewRegistry())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { l.Run(ctx) })
			after := func(what string, looks int, want int64) {
				t.Helper()
				time.Sleep(time.Duration(looks)*lookEvery + lookEvery/2) // of the bubble's clock
				synctest.Wait()
				if !follow {
					want = 0
				}
				if got := reads.Swap(0); got != want {
					t.Errorf("%s (follow %v): read %d times, want %d", what, follow, got, want)
				}
			}
			after("nothing happened", 3, 0)
			write("22")
			after("one look at a change", 0, 0)
			write("333")
			after("a look at another change", 0, 0)
			after("no change any more", 3, 1)
			write("")
			after("it is being written", 3, 0)
			write("4444")
			after("it was written", 3, 1)
			signals <- syscall.SIGUSR1
			signals <- syscall.SIGHUP
			synctest.Wait()
			if got := reads.Load(); got != 1 {
				t.Errorf("after a SIGHUP (follow %v): read %d times", follow, got)
			}
			cancel()
			wg.Wait()
		})
	}
}
