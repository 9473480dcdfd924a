package modelstore

import (
	"context"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// List describes the versions in the store's directory, without loading them, and what
// of named is not there.
func (s Store) List(ctx context.Context, named registry.Named) (*api.ModelList, error) {
	all, err := s.Find(s.Dir)
	if err != nil {
		return nil, err
	}
	out := &api.ModelList{Total: len(all)}
	for _, p := range all {
		v := api.ModelVersion{ModelID: p.ID, Version: p.Version, Status: string(registry.StateAvailable)}
		m, digest, err := p.Inspect(ctx, nil)
		if err != nil {
			v.Status, v.Error, v.Failure = string(registry.StateFailed), err.Error(), string(registry.KindOf(err))
		} else {
			if v.Content, err = p.ContentDigest(); err != nil {
				v.Warnings = append(v.Warnings, err.Error())
			}
			v.Digest, v.Backend, v.Algorithm, v.Description = digest, m.Backend, m.Algorithm, m.Description
		}
		out.Models = append(out.Models, v)
	}
	for _, p := range named.Missing(Versions(all)) {
		out.Problems = append(out.Problems, p.Why)
	}
	return out, nil
}
