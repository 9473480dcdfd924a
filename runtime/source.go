package runtime

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// Bounds of what is read from a model's directory.
const (
	maxManifestBytes = 1 << 20
	maxArtifactBytes = 1 << 30
	maxSideFileBytes = 256 << 20
)

// Location is where one version of a model stands below the models directory.
type Location struct {
	ID, Version string
	Dir         string // of model.yaml, relative; empty for a bare file
	File        string // the bare file, relative; empty for a directory
}

// Key names the version.
func (l Location) Key() string { return l.ID + "@" + l.Version }

// Path is the directory or file, relative to the models directory.
func (l Location) Path() string { return l.Dir + l.File }

// contents are the files of a model as they were read, once.
type contents struct {
	manifest *manifest.Manifest
	raw      []byte // of model.yaml
	artifact []byte
	digest   string // of the artifact
	files    map[string][]byte
	identity string   // of everything that was read
	dir      string   // that was read: absolute, with links followed
	outside  []string // files that were read from outside of dir
	wish     string   // what to say of a wish that the host does not grant
	memo     backends.Memo
}

// handed is what a backend is given.
func (c *contents) handed() backends.Artifact {
	return backends.Artifact{Manifest: c.manifest, Bytes: c.artifact, Digest: c.digest, Files: c.files, Dir: c.dir, Outside: c.outside, Memo: &c.memo}
}

// complete lets a backend fill in what the manifest leaves out.
func (c *contents) complete(ctx context.Context, with backends.Backend) error {
	err := with.Complete(ctx, c.handed())
	if err != nil && c.wish != "" {
		return fmt.Errorf("%w (%s)", err, c.wish)
	}
	return err
}

// bareBackends maps the extensions of bare artifacts.
var bareBackends = map[string]string{".onnx": manifest.BackendONNX, ".wasm": manifest.BackendWASM}

// read reads a model below root. Its manifest says what the host grants.
func read(root *os.Root, at Location, policy Policy) (*contents, error) {
	from, err := openDir(root, at, policy.max().Bytes)
	if err != nil {
		return nil, err
	}
	defer from.close()
	c := &contents{files: map[string][]byte{}, dir: from.dir}
	if err := c.readManifest(from, at); err != nil {
		return nil, err
	}
	m := c.manifest
	if m.Artifact == "" && len(m.Command) == 0 {
		return nil, errors.New("the manifest names no artifact")
	}
	if m.Artifact != "" {
		if c.artifact, err = from.read(m.Artifact, maxArtifactBytes); err != nil {
			return nil, fmt.Errorf("reading the artifact: %w", err)
		}
		c.digest = digest(c.artifact)
		if m.Digest != "" && m.Digest != c.digest {
			return nil, fmt.Errorf("%s has digest %s; the manifest says %s: the file changed or is damaged", m.Artifact, c.digest, m.Digest)
		}
	}
	if err := c.readFiles(from); err != nil {
		return nil, err
	}
	if m.Artifact == "" { // a command is made of files alone
		c.digest = c.filesDigest()
	}
	c.outside = from.elsewhere
	policy.apply(c)
	return c, nil
}

// readManifest reads model.yaml, or makes one for a bare file.
func (c *contents) readManifest(from *opened, at Location) error {
	if at.File != "" {
		c.manifest = derive(at)
		return nil
	}
	var err error
	if c.raw, err = from.read(manifest.FileName, maxManifestBytes); err != nil {
		return err
	}
	if c.manifest, err = manifest.Decode(c.raw); err != nil {
		return fmt.Errorf("%s: %w", manifest.FileName, err)
	}
	m := c.manifest
	if at.ID != "" && (m.ID != at.ID || m.Version != at.Version) {
		return fmt.Errorf("%s says %s %s, but stands in %s: directories are named <id>/<version>", manifest.FileName, m.ID, m.Version, at.Dir)
	}
	if base := path.Base(at.Dir); at.ID == "" && manifest.ValidVersion(base) && m.Version != base {
		return fmt.Errorf("%s says version %s, but stands in %s: directories are named <id>/<version>", manifest.FileName, m.Version, base)
	}
	return nil
}

// readFiles reads what the manifest names beside the artifact.
func (c *contents) readFiles(from *opened) error {
	names := map[string]bool{}
	for name := range c.manifest.Files {
		names[name] = true
	}
	for _, name := range namedFiles(c.manifest) {
		names[name] = true
	}
	identity := sha256.New()
	fmt.Fprintf(identity, "%s %x", c.digest, sha256.Sum256(c.raw))
	for _, name := range sortedKeys(names) {
		data, err := from.read(name, maxSideFileBytes)
		if err != nil {
			return err
		}
		sum := digest(data)
		if want, ok := c.manifest.Files[name]; ok && want != sum {
			return fmt.Errorf("%s has digest %s; the manifest says %s: the file changed or is damaged", name, sum, want)
		}
		fmt.Fprintf(identity, " %q %s", name, sum)
		c.files[name] = data
	}
	c.identity = hex.EncodeToString(identity.Sum(nil))
	return nil
}

// content is the digest of all that was read: manifest, artifact and files.
func (c *contents) content() string { return "sha256:" + c.identity }

// filesDigest is that of a model without an artifact: of its files' names and
// digests.
func (c *contents) filesDigest() string {
	var list []byte
	for _, name := range sortedKeys(c.files) {
		list = fmt.Appendf(list, "%s  %s\n", digest(c.files[name]), name)
	}
	return digest(list)
}

// namedFiles are the files that keys of a manifest name.
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

// derive makes the manifest of a bare file; the backend fills in the rest.
func derive(at Location) *manifest.Manifest {
	m := manifest.Defaults()
	m.ID, m.Version, m.Artifact, m.Derived = at.ID, at.Version, at.File, true
	m.Backend = bareBackends[path.Ext(at.File)]
	return m
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}
