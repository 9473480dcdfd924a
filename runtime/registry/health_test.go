package registry_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// unwell is a detector that reports bad health on demand.
type unwell struct {
	modeltest.Sums
	ill *atomic.Bool
}

func (u unwell) Health(context.Context) error {
	if u.ill.Load() {
		return errors.New("its process is down")
	}
	return nil
}

// TestUnwell checks that a host is not ready, and says why, while a model that the
// configuration names, or every model, cannot answer.
func TestUnwell(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*registry.Config)
		ill    []string
		want   bool // the host is ready
	}{
		"all are well":            {ill: nil, want: true},
		"one of many":             {ill: []string{"a@1.0.0"}, want: true},
		"all":                     {ill: []string{"a@1.0.0", "a@2.0.0", "b@1.0.0"}},
		"one that is named":       {func(c *registry.Config) { c.Default = "b" }, []string{"b@1.0.0"}, false},
		"one version of the name": {func(c *registry.Config) { c.Default = "a" }, []string{"a@2.0.0"}, true},
		"the only one": {func(c *registry.Config) {
			c.Only = []registry.Only{{ID: "a", Version: "2.0.0"}, {ID: "b", Version: "1.0.0"}}
		}, []string{"a@2.0.0"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			ill := map[string]*atomic.Bool{}
			for _, key := range []string{"a@1.0.0", "a@2.0.0", "b@1.0.0"} {
				id, version, _ := strings.Cut(key, "@")
				modeltest.WriteModel(t, dir, id, version, modeltest.Simple(id, version))
				ill[key] = new(atomic.Bool)
			}
			f := modeltest.NewFake()
			f.Make = func(m *manifest.Manifest) sdk.Scorer { return unwell{ill: ill[m.ID+"@"+m.Version]} }
			r := modeltest.Follow(t, dir, f, test.change)
			for _, key := range test.ill {
				ill[key].Store(true)
			}
			why := r.NotReady()
			if (why == "") != test.want || (why != "" && !strings.Contains(why, "its process is down")) {
				t.Errorf("not ready because of %q", why)
			}
			for _, key := range test.ill {
				id, version, _ := strings.Cut(key, "@")
				if s := modeltest.StateOf(t, r, id, version); s.State != registry.StateLoaded || s.Unwell == nil {
					t.Errorf("%s: %s, %v", key, s.State, s.Unwell)
				}
				ill[key].Store(false)
			}
			if why := r.NotReady(); why != "" {
				t.Errorf("all are well again, and not ready because of %q", why)
			}
		})
	}
}
