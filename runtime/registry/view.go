package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Viewer says which models a client may know of. It is called during requests, and
// must be fast and safe for concurrent use.
type Viewer interface{ Sees(model string) bool }

// View is a registry as a viewer sees it. Every result is the same as if the models
// that are hidden from the viewer did not exist.
type View struct {
	registry *Registry
	viewer   Viewer // nil: sees all models
}

// For returns the registry as a viewer sees it; nil sees everything.
func (r *Registry) For(viewer Viewer) View { return View{r, viewer} }

// Sees reports whether the viewer may know of a model, whether or not it exists.
func (v View) Sees(id string) bool { return v.viewer == nil || v.viewer.Sees(id) }

// Acquire is Registry.Acquire. A hidden model is not loaded.
func (v View) Acquire(ctx context.Context, id, version, key string) (*Lease, error) {
	id, err := v.name(id)
	if err != nil {
		return nil, err
	}
	lease, err := v.registry.Acquire(ctx, id, version, key)
	return lease, v.hide(err)
}

// Load is Registry.Load.
func (v View) Load(ctx context.Context, id, version string) (*Lease, error) {
	if err := v.check(id); err != nil {
		return nil, err
	}
	lease, err := v.registry.Load(ctx, id, version)
	return lease, v.hide(err)
}

// Unload is Registry.Unload.
func (v View) Unload(id, version string) (unloaded []string, err error) {
	if err := v.check(id); err != nil {
		return nil, err
	}
	unloaded, err = v.registry.Unload(id, version)
	return unloaded, v.hide(err)
}

// Peek is Registry.Peek.
func (v View) Peek(id, version string) (*Facts, error) {
	id, err := v.name(id)
	if err != nil {
		return nil, err
	}
	m, err := v.registry.Peek(id, version)
	return m, v.hide(err)
}

// List is Registry.List.
func (v View) List(id string) ([]Status, error) {
	if id != "" {
		if err := v.check(id); err != nil {
			return nil, err
		}
	}
	all, err := v.registry.list(id)
	if err != nil {
		return nil, v.hide(err)
	}
	return v.registry.ask(slices.DeleteFunc(all, func(s Status) bool { return !v.Sees(s.ID) })), nil
}

// Unmet is Registry.Unmet.
func (v View) Unmet(text func(error) string) []Problem {
	return slices.DeleteFunc(v.registry.Unmet(text), func(p Problem) bool { return !v.Sees(p.ID) })
}

// AliasesOf is Registry.AliasesOf. A hidden model has no aliases.
func (v View) AliasesOf(id string) Aliases {
	if !v.Sees(id) {
		return Aliases{}
	}
	return v.registry.AliasesOf(id)
}

// check returns the error for a model that does not exist for the viewer.
func (v View) check(id string) error {
	if v.Sees(id) {
		return nil
	}
	v.registry.mu.Lock()
	err := v.registry.notFound(id)
	v.registry.mu.Unlock()
	return v.hide(err)
}

// name returns the model that a request is about: the one that it names, or the
// default, or the only one that the viewer sees. Without a viewer it leaves that to
// the registry.
func (v View) name(id string) (string, error) {
	switch {
	case v.viewer == nil:
		return id, nil
	case id != "":
		return id, v.check(id)
	case v.registry.cfg.Default != "" && v.Sees(v.registry.cfg.Default):
		return v.registry.cfg.Default, nil
	}
	v.registry.mu.Lock()
	all := sortedKeys(v.registry.byID)
	v.registry.mu.Unlock()
	switch seen := v.seen(all); len(seen) {
	case 0:
		v.registry.mu.Lock()
		defer v.registry.mu.Unlock()
		return "", v.registry.noModels(v.Sees)
	case 1:
		return seen[0], nil
	default:
		return "", fmt.Errorf("%w: set model_id to one of %s", ErrAmbiguousModel, joinSome(seen))
	}
}

// seen returns those ids that the viewer sees.
func (v View) seen(ids []string) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !v.Sees(id) })
}

// hide removes hidden models from an error.
func (v View) hide(err error) error {
	if err == nil || v.viewer == nil {
		return err
	}
	var missing *noModelError
	if errors.As(err, &missing) {
		return &noModelError{id: missing.id, known: v.seen(missing.known)}
	}
	return err
}
