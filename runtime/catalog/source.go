package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/digest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// Limits of what is read from a model's directory.
const (
	maxManifestBytes = 1 << 20
	maxArtifactBytes = 1 << 30
	maxSideFileBytes = 256 << 20
)

// Location is the place of one version of a model below the models directory.
type Location struct {
	ID, Version string
	Dir         string // of model.yaml, relative; empty for a bare file
	File        string // the bare file, relative; empty for a directory
}

// Key returns the name of the version.
func (l Location) Key() string { return l.ID + "@" + l.Version }

// Path returns the directory or file, relative to the models directory.
func (l Location) Path() string { return l.Dir + l.File }

// Contents are the files of a model, read once.
type Contents struct {
	Manifest *manifest.Manifest
	Raw      []byte // of model.yaml
	Artifact []byte
	Digest   string // of the artifact
	Files    map[string][]byte
	Identity string   // of everything that was read
	dir      string   // the directory that was read: absolute, with links followed
	outside  []string // files that were read from outside dir
	wish     string   // an error text about a request that the host does not grant
	memo     backends.Memo
}

// ForBackend returns what a backend receives.
func (c *Contents) ForBackend() backends.Artifact {
	return backends.Artifact{Manifest: c.Manifest, Bytes: c.Artifact, Digest: c.Digest, Files: c.Files, Dir: c.dir, Outside: c.outside, Memo: &c.memo}
}

// Inspect returns the contents with a manifest that a backend has completed from the
// artifact.
func (c *Contents) Inspect(ctx context.Context, with backends.Backend) (*Contents, error) {
	derived, err := with.Inspect(ctx, c.ForBackend())
	if err != nil {
		return nil, c.withWish(err)
	}
	return c.WithManifest(c.Manifest.With(derived)), nil
}

// Check returns why check refuses the artifact.
func (c *Contents) Check(check func(backends.Artifact) error) error {
	return c.withWish(check(c.ForBackend()))
}

func (c *Contents) withWish(err error) error {
	if err == nil || c.wish == "" {
		return err
	}
	return fmt.Errorf("%w (%s)", err, c.wish)
}

// WithManifest returns the contents with another manifest.
func (c *Contents) WithManifest(m *manifest.Manifest) *Contents {
	out := *c
	out.Manifest = m
	return &out
}

// bareBackends maps the extensions of bare artifacts to backends.
var bareBackends = map[string]string{".onnx": manifest.BackendONNX, ".wasm": manifest.BackendWASM}

// Read reads a model below root. The policy limits its manifest. Unless reserve is
// nil, Read calls it with the number of bytes before it reads them; reserve may
// wait.
func Read(root *os.Root, at Location, policy Policy, reserve func(bytes int64) error) (*Contents, error) {
	from, err := openDir(root, at, policy.max().Bytes)
	if err != nil {
		return nil, err
	}
	defer from.close()
	c := &Contents{Files: map[string][]byte{}, dir: from.dir}
	if err := c.readManifest(from, at); err != nil {
		return nil, err
	}
	m := c.Manifest
	if m.Artifact == "" && len(m.Command) == 0 {
		return nil, errors.New("the manifest names no artifact")
	}
	if reserve != nil {
		from.left = min(from.left, from.size(m.Artifact, slices.Collect(maps.Keys(c.names()))...))
		if err := reserve(from.left); err != nil {
			return nil, err
		}
	}
	if m.Artifact != "" {
		if c.Artifact, err = from.read(m.Artifact, maxArtifactBytes); err != nil {
			return nil, fmt.Errorf("reading the artifact: %w", err)
		}
		c.Digest = digest.Of(c.Artifact)
		if m.Digest != "" && m.Digest != c.Digest {
			return nil, fmt.Errorf("%s has digest %s; the manifest says %s: the file changed or is damaged", m.Artifact, c.Digest, m.Digest)
		}
	}
	if err := c.readFiles(from); err != nil {
		return nil, err
	}
	if m.Artifact == "" { // a command is made of files only
		c.Digest = c.filesDigest()
	}
	c.outside = from.elsewhere
	policy.apply(c)
	return c, nil
}

// readManifest reads model.yaml, or makes a manifest for a bare file.
func (c *Contents) readManifest(from *opened, at Location) error {
	if at.File != "" {
		c.Manifest = derive(at)
		return nil
	}
	var err error
	if c.Raw, err = from.read(manifest.FileName, maxManifestBytes); err != nil {
		return err
	}
	if c.Manifest, err = manifest.Decode(c.Raw); err != nil {
		return fmt.Errorf("%s: %w", manifest.FileName, err)
	}
	m := c.Manifest
	if at.ID != "" && (m.ID != at.ID || m.Version != at.Version) {
		return fmt.Errorf("%s says %s %s, but stands in %s: directories are named <id>/<version>", manifest.FileName, m.ID, m.Version, at.Dir)
	}
	if base := path.Base(at.Dir); at.ID == "" && manifest.ValidVersion(base) && m.Version != base {
		return fmt.Errorf("%s says version %s, but stands in %s: directories are named <id>/<version>", manifest.FileName, m.Version, base)
	}
	return nil
}

// names returns the files that the manifest names besides the artifact.
func (c *Contents) names() map[string]bool {
	names := map[string]bool{}
	for name := range c.Manifest.Files {
		names[name] = true
	}
	for _, name := range namedFiles(c.Manifest) {
		names[name] = true
	}
	return names
}

// readFiles reads those files.
func (c *Contents) readFiles(from *opened) error {
	identity := sha256.New()
	fmt.Fprintf(identity, "%s %x", c.Digest, sha256.Sum256(c.Raw))
	for _, name := range slices.Sorted(maps.Keys(c.names())) {
		data, err := from.read(name, maxSideFileBytes)
		if err != nil {
			return err
		}
		sum := digest.Of(data)
		if want, ok := c.Manifest.Files[name]; ok && want != sum {
			return fmt.Errorf("%s has digest %s; the manifest says %s: the file changed or is damaged", name, sum, want)
		}
		fmt.Fprintf(identity, " %q %s", name, sum)
		c.Files[name] = data
	}
	c.Identity = hex.EncodeToString(identity.Sum(nil))
	return nil
}

// ContentDigest returns the digest of everything that was read: manifest, artifact
// and files.
func (c *Contents) ContentDigest() string { return digest.Prefix + c.Identity }

// filesDigest returns the digest of a model without an artifact: of the names and
// digests of its files.
func (c *Contents) filesDigest() string {
	var list []byte
	for _, name := range slices.Sorted(maps.Keys(c.Files)) {
		list = fmt.Appendf(list, "%s  %s\n", digest.Of(c.Files[name]), name)
	}
	return digest.Of(list)
}

// namedFiles returns the files that keys of a manifest name.
func namedFiles(m *manifest.Manifest) []string {
	var names []string
	if m.Calibration != nil && m.Calibration.Scores != "" {
		names = append(names, m.Calibration.Scores)
	}
	if m.Golden != nil {
		names = append(names, m.Golden.Rows)
	}
	if m.DriftBins != "" {
		names = append(names, m.DriftBins)
	}
	return names
}

// derive returns the manifest of a bare file. The backend adds the rest.
func derive(at Location) *manifest.Manifest {
	m := manifest.Defaults()
	m.ID, m.Version, m.Artifact, m.Derived = at.ID, at.Version, at.File, true
	m.Backend = bareBackends[path.Ext(at.File)]
	return m
}
