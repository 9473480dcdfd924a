package registry_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// sees holds the models that a viewer sees.
type sees []string

func (s sees) Sees(model string) bool { return slices.Contains(s, model) }

// TestViewHides checks that every question to a view about a hidden model has the
// same answer as one about a missing model, and that the hidden model is not loaded.
func TestViewHides(t *testing.T) {
	dir := t.TempDir()
	for _, id := range []string{"own", "secret", "default"} {
		modeltest.WriteModel(t, dir, id, "1.0.0", modeltest.Simple(id, "1.0.0"))
	}
	r := modeltest.Follow(t, dir, modeltest.NewFake(), func(c *registry.Config) { c.Default, c.Lazy = "default", true })
	view := r.For(sees{"own", "nothing"})
	for name, ask := range map[string]func(id string) error{
		"acquire":            func(id string) error { _, err := view.Acquire(t.Context(), id, "", ""); return err },
		"acquire a version":  func(id string) error { _, err := view.Acquire(t.Context(), id, "1.0.0", "key"); return err },
		"acquire no version": func(id string) error { _, err := view.Acquire(t.Context(), id, "9.9.9", ""); return err },
		"load":               func(id string) error { _, err := view.Load(t.Context(), id, ""); return err },
		"load a version":     func(id string) error { _, err := view.Load(t.Context(), id, "1.0.0"); return err },
		"unload":             func(id string) error { _, err := view.Unload(id, ""); return err },
		"unload no version":  func(id string) error { _, err := view.Unload(id, "9.9.9"); return err },
		"peek":               func(id string) error { _, err := view.Peek(id, ""); return err },
		"peek at a version":  func(id string) error { _, err := view.Peek(id, "1.0.0"); return err },
		"list":               func(id string) error { _, err := view.List(id); return err },
	} {
		hidden, absent := ask("secret"), ask("secreT") // one letter differs, so a hint would name it
		if !errors.Is(hidden, registry.ErrModelNotFound) || !errors.Is(absent, registry.ErrModelNotFound) {
			t.Errorf("%s: %v; of no model: %v", name, hidden, absent)
			continue
		}
		if h, a := hidden.Error(), absent.Error(); strings.ReplaceAll(h, "secret", "secreT") != a {
			t.Errorf("%s: hidden: %s\nabsent: %s", name, h, a)
		}
	}
	for _, id := range []string{"secret", "default"} {
		if st := modeltest.StateOf(t, r, id, "1.0.0"); st.State != registry.StateAvailable {
			t.Errorf("%s is %s", id, st.State)
		}
	}
	if _, err := view.Acquire(t.Context(), "owm", "", ""); err == nil || !strings.Contains(err.Error(), "own") {
		t.Errorf("%v; want a hint at the model that is seen", err)
	}
	if _, err := view.Acquire(t.Context(), "nothing", "", ""); !errors.Is(err, registry.ErrModelNotFound) || strings.Contains(err.Error(), "secret") {
		t.Errorf("a model that might be seen and is not there: %v", err)
	}
}

// TestViewNames checks that without a name a request is for the default model, or
// the only one, among those that the viewer sees.
func TestViewNames(t *testing.T) {
	dir := t.TempDir()
	for _, id := range []string{"a", "b", "c"} {
		modeltest.WriteModel(t, dir, id, "1.0.0", modeltest.Simple(id, "1.0.0"))
	}
	r := modeltest.Follow(t, dir, modeltest.NewFake(), func(c *registry.Config) { c.Default = "c" })
	r.SetAliases(t.Context(), map[string]registry.Aliases{"a": {Names: map[string]string{"stable": "1.0.0"}}})
	for _, k := range []struct {
		viewer registry.Viewer
		want   string // the model, or a part of the error
		listed string
	}{
		{nil, "c", "[a b c]"},
		{sees{"a", "b", "c"}, "c", "[a b c]"},
		{sees{"a"}, "a", "[a]"},
		{sees{"a", "b"}, "no model named: set model_id to one of a, b", "[a b]"},
		{sees{}, "model not found: the models directory is empty", "[]"},
	} {
		view := r.For(k.viewer)
		var got string
		lease, err := view.Acquire(t.Context(), "", "", "")
		if err != nil {
			got = err.Error()
		} else {
			got = lease.Model().ID()
			lease.Release()
		}
		if got != k.want {
			t.Errorf("%v: %s, want %s", k.viewer, got, k.want)
		}
		if m, err := view.Peek("", ""); (err == nil) != (lease != nil) || err == nil && m.ID() != k.want {
			t.Errorf("%v: peeked %v, %v", k.viewer, m, err)
		}
		all, err := view.List("")
		if err != nil {
			t.Fatal(err)
		}
		listed := []string{}
		for _, s := range all {
			listed = append(listed, s.ID)
		}
		if fmt.Sprint(listed) != k.listed {
			t.Errorf("%v: listed %v, want %s", k.viewer, listed, k.listed)
		}
		if aliases := view.AliasesOf("a").Names; (len(aliases) == 1) != view.Sees("a") {
			t.Errorf("%v: aliases of a: %v", k.viewer, aliases)
		}
	}
}

// TestViewCostsNothing checks that a view allocates no more than the registry does.
func TestViewCostsNothing(t *testing.T) {
	dir := t.TempDir()
	modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0"))
	r := modeltest.Follow(t, dir, modeltest.NewFake(), nil)
	lease := func(acquire func() (*registry.Lease, error)) float64 {
		return testing.AllocsPerRun(100, func() {
			l, err := acquire()
			if err != nil {
				t.Fatal(err)
			}
			l.Release()
		})
	}
	viewer := registry.Viewer(sees{"m"})
	plain := lease(func() (*registry.Lease, error) { return r.Acquire(t.Context(), "m", "", "") })
	for _, v := range []registry.Viewer{nil, viewer} {
		if n := lease(func() (*registry.Lease, error) { return r.For(v).Acquire(t.Context(), "m", "", "") }); n > plain {
			t.Errorf("%v allocations through a view, %v without", n, plain)
		}
	}
}
