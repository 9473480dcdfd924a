package registry_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// split returns aliases of a model m.
func split(stable, canary string, weights ...int) map[string]registry.Aliases {
	a := registry.Aliases{Names: map[string]string{"stable": stable, "canary": canary}}
	if len(weights) == 2 {
		a.Default = map[string]int{"stable": weights[0], "canary": weights[1]}
	}
	return map[string]registry.Aliases{"m": a}
}

// answers counts which versions answer requests of many callers without a version.
// Requests that fail count under "".
func answers(t *testing.T, r *registry.Registry) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for i := range 200 {
		l, err := r.Acquire(t.Context(), "m", "", fmt.Sprint("caller-", i))
		var unavailable *model.UnavailableError
		switch {
		case err == nil:
			counts[l.Model().Version()]++
			l.Release()
		case errors.As(err, &unavailable) && unavailable.RetryAfter >= time.Second && unavailable.Reason != "":
			counts[""]++
		default:
			t.Fatal(err)
		}
	}
	return counts
}

// TestSharesAreNobodyElses checks that if a name with weight cannot be served, the
// requests of its share fail with the reason, no other version answers them, and the
// host is not ready and says why.
func TestSharesAreNobodyElses(t *testing.T) {
	for _, c := range []struct {
		name    string
		aliases map[string]registry.Aliases
		damaged bool   // 1.0.0 is damaged
		most    int    // most answers of 2.0.0 among 200
		least   int    // least answers of 2.0.0
		why     string // why the host is not ready
	}{
		{"all is well", split("1.0.0", "2.0.0", 100, 0), false, 0, 0, ""},
		{"damaged", split("1.0.0", "2.0.0", 100, 0), true, 0, 0, "m@1.0.0 was not loaded"},
		{"misspelt", split("1.0.1", "2.0.0", 100, 0), false, 0, 0, "alias stable of model m stands for version 1.0.1, which is not there: there are 2.0.0, 1.0.0"},
		{"a share", split("1.0.0", "2.0.0", 90, 10), true, 60, 5, "m@1.0.0 was not loaded"},
		{"no alias", map[string]registry.Aliases{"m": {Default: map[string]int{"1.0.1": 1}}}, false, 0, 0, "1.0.1 is neither a version that is there nor an alias"},
		{"a version", map[string]registry.Aliases{"m": {Default: map[string]int{"1.0.0": 1}}}, true, 0, 0, "m@1.0.0 was not loaded"},
		{"no model", map[string]registry.Aliases{"x": {Names: map[string]string{"stable": "1.0.0"}}}, false, 200, 200, "models.aliases names model x, which is not there"},
		{"a version's name", map[string]registry.Aliases{"m": {Names: map[string]string{"2.0.0": "1.0.0"}}}, false, 200, 200, "alias 2.0.0 of model m is never used"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, log := t.TempDir(), &modeltest.Logged{}
			for _, v := range []string{"1.0.0", "2.0.0"} {
				modeltest.WriteModel(t, dir, "m", v, modeltest.Simple("m", v))
			}
			if c.damaged {
				modeltest.WriteModel(t, dir, "m", "1.0.0", "id: m")
			}
			r := modeltest.Follow(t, dir, modeltest.NewFake(), func(cfg *registry.Config) {
				cfg.Aliases, cfg.Log = c.aliases, slog.New(slog.NewTextHandler(log, nil))
			})
			counts := answers(t, r)
			if n := counts["2.0.0"]; n > c.most || n < c.least {
				t.Errorf("%v", counts)
			}
			if c.damaged && (counts["1.0.0"] > 0 || counts[""] == 0) {
				t.Errorf("%v", counts)
			}
			why := r.NotReady()
			if (why == "") != (c.why == "") || !strings.Contains(why, c.why) {
				t.Errorf("not ready because of %q, want %q", why, c.why)
			}
			if n := log.Count("the host is not ready"); (n > 0) != (c.why != "") || (c.why != "") != (len(r.Unmet(error.Error)) > 0) {
				t.Errorf("%d lines in the log, %q", n, r.Unmet(error.Error))
			}
		})
	}
}

// TestReadyMeansConfigured checks that a ready host splits requests as configured,
// whatever it loads by itself and however few models it keeps.
func TestReadyMeansConfigured(t *testing.T) {
	for name, change := range map[string]func(*registry.Config){
		"eager": nil,
		"lazy":  func(c *registry.Config) { c.Lazy = true },
		"one":   func(c *registry.Config) { c.CacheSize = 1 },
		"both":  func(c *registry.Config) { c.CacheSize, c.Lazy = 1, true },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, v := range []string{"1.0.0", "2.0.0", "3.0.0"} {
				modeltest.WriteModel(t, dir, "m", v, modeltest.Simple("m", v))
			}
			gate := make(chan struct{})
			f := modeltest.NewFake()
			f.Before = func(ctx context.Context, m *manifest.Manifest) error {
				if m.Version == "1.0.0" {
					select {
					case <-gate:
					case <-ctx.Done():
					}
				}
				return nil
			}
			r := modeltest.Start(t, dir, f, func(c *registry.Config) {
				c.Aliases = split("1.0.0", "2.0.0", 100, 0)
				if change != nil {
					change(c)
				}
			}, nil)
			testkit.Eventually(t, "1.0.0 is being loaded", func() bool { return f.Tries("m@1.0.0") == 1 })
			asked := make(chan string, 1)
			go func() { // a request that comes too early waits for its version
				l, err := r.Acquire(t.Context(), "m", "", "")
				if err != nil {
					asked <- err.Error()
					return
				}
				defer l.Release()
				asked <- l.Model().Version()
			}()
			select {
			case <-r.Ready():
				t.Error("it is ready before 1.0.0 has loaded")
			default:
			}
			if why := r.NotReady(); why == "" {
				t.Error("it is ready")
			}
			close(gate)
			if by := <-asked; by != "1.0.0" {
				t.Errorf("answered by %s", by)
			}
			<-r.Ready()
			if why := r.NotReady(); why != "" {
				t.Errorf("not ready: %s", why)
			}
			if counts := answers(t, r); counts["1.0.0"] != 200 {
				t.Errorf("%v", counts)
			}
			if v := modeltest.VersionOf(t, r, "m", "canary", ""); v != "2.0.0" {
				t.Error(v)
			}
		})
	}
}

// TestMovedAlias checks that an alias keeps its former version until its new one has
// loaded, and that the host says if that is impossible.
func TestMovedAlias(t *testing.T) {
	dir := t.TempDir()
	for _, v := range []string{"1.0.0", "2.0.0", "3.0.0"} {
		modeltest.WriteModel(t, dir, "m", v, modeltest.Simple("m", v))
	}
	gate := make(chan struct{})
	var bad failing
	bad.set("m@3.0.0", errVerdict)
	f := modeltest.NewFake()
	f.Make = func(m *manifest.Manifest) sdk.Scorer {
		if m.Version == "2.0.0" {
			<-gate
		}
		return modeltest.Sums{}
	}
	f.Before = func(_ context.Context, m *manifest.Manifest) error { return bad.of(m.ID + "@" + m.Version) }
	r := modeltest.Follow(t, dir, f, func(c *registry.Config) { c.Lazy, c.Aliases = true, split("1.0.0", "1.0.0", 100, 0) })
	errs := make(chan []error, 1)
	go func() { errs <- r.SetAliases(t.Context(), split("2.0.0", "1.0.0", 100, 0)) }()
	testkit.Eventually(t, "2.0.0 loads", func() bool { return modeltest.StateOf(t, r, "m", "2.0.0").State == registry.StateLoading })
	if why := r.NotReady(); why != "" {
		t.Errorf("not ready while the alias moves: %s", why)
	}
	if v := modeltest.VersionOf(t, r, "m", "", ""); v != "1.0.0" || r.AliasesOf("m").Names["stable"] != "1.0.0" {
		t.Errorf("%s answers", v)
	}
	close(gate)
	if errs := <-errs; errs != nil {
		t.Error(errs)
	}
	if v := modeltest.VersionOf(t, r, "m", "", ""); v != "2.0.0" || r.AliasesOf("m").Names["stable"] != "2.0.0" {
		t.Errorf("%s answers", v)
	}
	if errs := r.SetAliases(t.Context(), split("3.0.0", "1.0.0", 100, 0)); len(errs) != 1 {
		t.Errorf("%v", errs)
	}
	if v := modeltest.VersionOf(t, r, "m", "stable", ""); v != "2.0.0" {
		t.Errorf("%s answers", v)
	}
	if why := r.NotReady(); !strings.Contains(why, "m@3.0.0 was not loaded") {
		t.Errorf("not ready: %q", why)
	}
	// It moves if the former version is removed.
	modeltest.Check(t, os.RemoveAll(filepath.Join(dir, "m", "2.0.0")))
	testkit.Eventually(t, "2.0.0 is gone", func() bool { return modeltest.StateOf(t, r, "m", "2.0.0").State == "" })
	if _, err := r.Acquire(t.Context(), "m", "stable", ""); !errors.Is(err, batching.ErrUnavailable) || !strings.Contains(err.Error(), "m 3.0.0 is unavailable") {
		t.Errorf("%v", err)
	}
	// Aliases that name nothing are refused.
	for want, all := range map[string]map[string]registry.Aliases{
		"":                          split("1.0.0", "1.0.0"),
		"which is not there":        split("1.0.1", "1.0.0"),
		"names model x":             {"x": {}},
		"neither a version that is": {"m": {Default: map[string]int{"none": 1}}},
	} {
		err := r.CheckAliases(all)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", all, err)
		}
	}
}

// TestVersionComesLater checks that the host becomes ready when a missing version
// that the configuration names appears, and becomes not ready when a version takes
// an alias's name.
func TestVersionComesLater(t *testing.T) {
	dir := t.TempDir()
	modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0"))
	r := modeltest.Follow(t, dir, modeltest.NewFake(), func(c *registry.Config) {
		c.Lazy, c.CacheSize = true, 1
		c.Aliases = map[string]registry.Aliases{"m": {Names: map[string]string{"stable": "2.0.0", "3.0.0": "1.0.0"}}}
	})
	if _, err := r.Acquire(t.Context(), "m", "stable", ""); !errors.Is(err, batching.ErrUnavailable) || !strings.Contains(err.Error(), "alias stable stands for it: there are 1.0.0") {
		t.Errorf("%v", err)
	}
	if why := r.NotReady(); !strings.Contains(why, "2.0.0, which is not there") {
		t.Errorf("not ready: %q", why)
	}
	modeltest.WriteModel(t, dir, "m", "2.0.0", modeltest.Simple("m", "2.0.0"))
	testkit.Eventually(t, "it is ready", func() bool { return r.NotReady() == "" })
	if v := modeltest.VersionOf(t, r, "m", "stable", ""); v != "2.0.0" {
		t.Error(v)
	}
	modeltest.WriteModel(t, dir, "m", "3.0.0", modeltest.Simple("m", "3.0.0"))
	testkit.Eventually(t, "it is not ready", func() bool { return strings.Contains(r.NotReady(), "alias 3.0.0 of model m is never used") })
	if _, err := r.Unload("m", "stable"); err != nil {
		t.Fatal(err)
	}
	if all := r.Unmet(error.Error); !slices.ContainsFunc(all, func(p registry.Problem) bool { return p.ID == "m" && strings.Contains(p.Why, "m@2.0.0 was unloaded") }) {
		t.Errorf("%q", all)
	}
}
