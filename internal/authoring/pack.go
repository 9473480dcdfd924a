package authoring

import (
	"cmp"
	"context"
	"fmt"

	"github.com/pynomaly/pynomaly-runtime/internal/conformance"
	"github.com/pynomaly/pynomaly-runtime/internal/digest"
	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/plugindev"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
)

// Pack writes the model at a place, with the digests of its module and files in its
// manifest, and returns its directory. Without an id or a version it has the manifest's.
// It refuses a detector that does not give each row of a batch one score.
func (a Author) Pack(ctx context.Context, at modelstore.Place, id, version string) (string, error) {
	_, artifact, err := at.Artifact(ctx, a.With)
	if err != nil {
		return "", err
	}
	m := artifact.Manifest.Clone()
	m.ID, m.Version = cmp.Or(id, m.ID), cmp.Or(version, m.Version)
	if err := catalog.CheckName(m.ID, m.Version); err != nil {
		return "", err
	}
	if m.Backend == manifest.BackendWASM {
		m.Artifact = plugindev.Module // whatever a bare module was called
	}
	if err := conformance.EveryRow(ctx, at, a.With); err != nil {
		return "", fmt.Errorf("%s cannot be packed: %w", at.ID, err)
	}
	m.Files = map[string]string{}
	files := map[string][]byte{}
	if m.Artifact != "" {
		m.Digest, files[m.Artifact] = artifact.Digest, artifact.Bytes
	}
	for name, data := range artifact.Files {
		files[name], m.Files[name] = data, digest.Of(data)
	}
	return a.put(m, files)
}
