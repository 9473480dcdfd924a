package runtime

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// Bounds of what is read from a model's directory.
const (
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
	identity string // of everything that was read
	dir      string // of the model, where its links lead
	below    string // the same, relative to the models directory: what is read is what dir names
}

// handed is what a backend is given.
func (c *contents) handed() backends.Artifact {
	return backends.Artifact{Manifest: c.manifest, Bytes: c.artifact, Digest: c.digest, Files: c.files, Dir: c.dir}
}

// bareBackends maps the extensions of bare artifacts.
var bareBackends = map[string]string{".onnx": manifest.BackendONNX, ".wasm": manifest.BackendWASM}

// read reads a model through root, which refuses links that lead outside.
func read(root *os.Root, at Location) (*contents, error) {
	c := &contents{files: map[string][]byte{}, dir: filepath.Join(root.Name(), filepath.FromSlash(at.Dir))}
	if dir, err := filepath.EvalSymlinks(c.dir); err == nil {
		c.dir = dir
	}
	c.below = at.Dir
	if base, err := filepath.EvalSymlinks(root.Name()); err == nil {
		if way, err := filepath.Rel(base, c.dir); err == nil && filepath.IsLocal(way) {
			c.below = filepath.ToSlash(way)
		}
	}
	if dir, err := filepath.Abs(c.dir); err == nil {
		c.dir = dir
	}
	if at.File != "" {
		c.manifest = derive(at)
	} else {
		raw, err := readFile(root, path.Join(c.below, manifest.FileName), 1<<20)
		if err != nil {
			return nil, err
		}
		if c.manifest, err = manifest.Decode(raw); err != nil {
			return nil, fmt.Errorf("%s: %w", manifest.FileName, err)
		}
		c.raw = raw
	}
	m := c.manifest
	if at.ID != "" && (m.ID != at.ID || m.Version != at.Version) {
		return nil, fmt.Errorf("%s says %s %s, but stands in %s: directories are named <id>/<version>", manifest.FileName, m.ID, m.Version, at.Dir)
	}
	if base := path.Base(at.Dir); at.ID == "" && manifest.ValidVersion(base) && m.Version != base {
		return nil, fmt.Errorf("%s says version %s, but stands in %s: directories are named <id>/<version>", manifest.FileName, m.Version, base)
	}
	if m.Artifact == "" && len(m.Command) == 0 {
		return nil, errors.New("the manifest names no artifact")
	}
	if m.Artifact == "" { // a command is made of files alone
		if err := c.readFiles(root); err != nil {
			return nil, err
		}
		c.digest = c.filesDigest()
		return c, nil
	}
	var err error
	if c.artifact, err = readFile(root, path.Join(c.below, m.Artifact), maxArtifactBytes); err != nil {
		return nil, fmt.Errorf("reading the artifact: %w", err)
	}
	c.digest = digest(c.artifact)
	if m.Digest != "" && m.Digest != c.digest {
		return nil, fmt.Errorf("%s has digest %s; the manifest says %s: the file changed or is damaged", m.Artifact, c.digest, m.Digest)
	}
	return c, c.readFiles(root)
}

// readFiles reads what the manifest names beside the artifact.
func (c *contents) readFiles(root *os.Root) error {
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
		data, err := readFile(root, path.Join(c.below, name), maxSideFileBytes)
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

func readFile(root *os.Root, name string, most int64) ([]byte, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would wait for its other end
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, cause(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", name)
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%s has %d bytes; at most %d are read", name, info.Size(), most)
	}
	data := make([]byte, 0, info.Size()+1)
	for {
		n, err := f.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if errors.Is(err, io.EOF) {
			return data, nil
		}
		if err != nil {
			return nil, cause(err)
		}
		if int64(len(data)) > most {
			return nil, fmt.Errorf("%s grew over %d bytes while it was read", name, most)
		}
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
	}
}

// cause shortens a path error to what went wrong with which file.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		if strings.Contains(p.Err.Error(), "escapes") {
			return fmt.Errorf("%s is a link that leads outside the models directory: put the file inside it", p.Path)
		}
		return fmt.Errorf("%s: %w", p.Path, p.Err)
	}
	return err
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}
