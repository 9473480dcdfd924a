package modelstore

import (
	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// List describes the versions in the store's directory, without loading them, and what
// of named is not there. check returns why a host would refuse an artifact.
func (s Store) List(named registry.Named, check func(backends.Artifact) error) (*api.ModelList, error) {
	all, err := s.Find(s.Dir)
	if err != nil {
		return nil, err
	}
	out := &api.ModelList{Total: len(all)}
	for _, p := range all {
		v := api.ModelVersion{ModelID: p.ID, Version: p.Version, Status: string(registry.StateAvailable)}
		c, err := p.read()
		if err == nil {
			v.Content, v.Digest, v.Backend = c.ContentDigest(), c.Digest, c.Manifest.Backend
			v.Algorithm, v.Description = c.Manifest.Algorithm, c.Manifest.Description
			err = c.Check(check)
		}
		if err != nil {
			v.Status, v.Error, v.Failure = string(registry.StateFailed), err.Error(), string(registry.KindOf(err))
		}
		out.Models = append(out.Models, v)
	}
	for _, p := range named.Missing(Versions(all)) {
		out.Problems = append(out.Problems, p.Why)
	}
	return out, nil
}
