package plugindev

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/pynomaly/pynomaly-runtime/internal/atomicfile"
	"github.com/pynomaly/pynomaly-runtime/internal/digest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// renewDigests writes the digests of a project's files into the model.yaml of its model's
// folder, where that has digests. A model.yaml that cannot be decoded stays as it is: what
// opens the model says why.
func renewDigests(dir string) error {
	name := filepath.Join(dir, manifest.FileName)
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the manifest: %w", err)
	}
	m, err := manifest.Decode(text)
	if err != nil {
		return nil //nolint:nilerr // as the comment says
	}
	m = m.Clone()
	former := maps.Clone(m.Files)
	keys := []string{}
	for file := range m.Files {
		if data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(file))); err == nil {
			m.Files[file] = digest.Of(data)
		}
	}
	if !maps.Equal(former, m.Files) {
		keys = append(keys, "files")
	}
	if data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(m.Artifact))); err == nil && m.Digest != "" && m.Digest != digest.Of(data) {
		m.Digest, keys = digest.Of(data), append(keys, "digest")
	}
	if len(keys) == 0 {
		return nil
	}
	if text, err = manifest.Edit(text, m, keys...); err != nil {
		return err
	}
	const mode = 0o644
	return atomicfile.Write(name, text, mode)
}
