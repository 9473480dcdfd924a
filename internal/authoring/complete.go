package authoring

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/pynomaly/pynomaly-runtime/internal/atomicfile"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// stated says what a manifest that people have begun states.
type stated struct {
	begun       bool // there is such a manifest
	orientation bool
	features    bool
	threshold   bool
	missing     []bool // of each feature
}

// apply makes a manifest that was begun take from the artifact what it does not state.
func (s stated) apply(m *manifest.Manifest) {
	if s.begun {
		m.Derived, m.Output.Directed = true, s.orientation
	}
}

// mayMiss reports whether the rule for missing values of feature i is not stated.
func (s stated) mayMiss(i int) bool { return i >= len(s.missing) || !s.missing[i] }

// complete adds what is missing to the manifest in a directory: what follows from the
// artifact and the training rows. It changes no value that is there.
func (a Author) complete(ctx context.Context, dir string, o InitOptions) (*Initialised, error) {
	name := filepath.Join(dir, manifest.FileName)
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	begun, err := parseBegun(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	added, err := begun.identify(dir, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := begun.allows(o); err != nil {
		return nil, fmt.Errorf("%s %w", name, err)
	}
	// A copy of the directory is completed and verified, so that hosts see either the
	// manifest that was there or one that they can serve.
	staging, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+"-*")
	if err != nil {
		return nil, fmt.Errorf("making a directory beside %s: %w", dir, err)
	}
	defer func() { _ = os.RemoveAll(staging) }()
	staged := filepath.Join(staging, filepath.Base(dir))
	if err := os.CopyFS(staged, os.DirFS(dir)); err != nil {
		return nil, fmt.Errorf("copying %s: %w", dir, err)
	}
	d, m, text, err := a.completed(ctx, begun, staged, o)
	if err != nil {
		return nil, err
	}
	d.Dir, d.Added = dir, slices.Concat(added, begun.added)
	at, err := a.Store.FindOne(staged)
	if err != nil {
		return nil, err
	}
	verdict, err := a.Verify(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("hosts would refuse what is added to %s, so nothing is written: %w", name, err)
	}
	d.warn(m, verdict)
	if len(d.Added) == 0 {
		d.Added = []string{"nothing, it is complete"}
		return &d.Initialised, nil
	}
	for _, file := range slices.Sorted(maps.Keys(d.files)) {
		if err := atomicfile.Write(filepath.Join(dir, file), d.files[file], fileMode); err != nil {
			return nil, err
		}
	}
	return &d.Initialised, atomicfile.Write(name, text, fileMode)
}

// fileMode lets another user serve the model.
const fileMode = 0o644

// completed completes the manifest in a copy of the directory, and writes it there with
// its files. It returns the manifest and its text.
func (a Author) completed(ctx context.Context, begun *begun, staged string, o InitOptions) (*draft, *manifest.Manifest, []byte, error) {
	text, err := begun.encode()
	if err != nil {
		return nil, nil, nil, err
	}
	if err := os.WriteFile(filepath.Join(staged, manifest.FileName), text, fileMode); err != nil {
		return nil, nil, nil, fmt.Errorf("writing the manifest: %w", err)
	}
	at, err := a.Store.FindOne(staged)
	if err != nil {
		return nil, nil, nil, err
	}
	d, err := a.drafted(ctx, at, o, begun.stated())
	if err != nil {
		return nil, nil, nil, err
	}
	if err := begun.complete(d.manifest); err != nil {
		return nil, nil, nil, err
	}
	if text, err = begun.encode(); err != nil {
		return nil, nil, nil, err
	}
	m, err := manifest.Decode(text)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("completing %s: %w", manifest.FileName, err)
	}
	maps.DeleteFunc(d.files, func(name string, _ []byte) bool { return begun.hasFile(name) })
	for name, data := range d.files {
		if _, err := os.Lstat(filepath.Join(staged, name)); err == nil {
			return nil, nil, nil, fmt.Errorf("the directory has a file %s already, which model.yaml does not name: move it away", name)
		}
		if err := os.WriteFile(filepath.Join(staged, name), data, fileMode); err != nil {
			return nil, nil, nil, fmt.Errorf("writing %s: %w", name, err)
		}
	}
	if err := os.WriteFile(filepath.Join(staged, manifest.FileName), text, fileMode); err != nil {
		return nil, nil, nil, fmt.Errorf("writing the manifest: %w", err)
	}
	return d, m, text, nil
}

// begun is a manifest as people have written it, with their comments.
type begun struct {
	doc   *yaml.Node
	top   *yaml.Node // its object
	added []string   // keys that complete has added
}

func parseBegun(raw []byte) (*begun, error) {
	b := &begun{doc: &yaml.Node{}}
	if err := yaml.Unmarshal(raw, b.doc); err != nil {
		return nil, fmt.Errorf("reading YAML: %w", err)
	}
	if b.doc.Kind == 0 || len(b.doc.Content) == 1 && b.doc.Content[0].Tag == "!!null" {
		b.doc = &yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{{Kind: yaml.MappingNode, Tag: "!!map"}}}
	}
	if b.top = b.doc.Content[0]; b.top.Kind != yaml.MappingNode {
		return nil, errors.New("must be an object (key: value)")
	}
	return b, nil
}

func (b *begun) encode() ([]byte, error) {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(b.doc); err != nil {
		return nil, fmt.Errorf("writing the manifest: %w", err)
	}
	return out.Bytes(), nil
}

// value returns the value of a key of an object, or nil.
func value(object *yaml.Node, key string) *yaml.Node {
	if object == nil || object.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(object.Content); i += 2 {
		if object.Content[i].Value == key {
			return object.Content[i+1]
		}
	}
	return nil
}

// identify adds what every manifest needs, from the options and the directory's name, and
// returns the keys that it has added.
func (b *begun) identify(dir string, o InitOptions) (added []string, err error) {
	above, base := filepath.Base(filepath.Dir(dir)), filepath.Base(dir)
	id, version := base, "1.0.0"
	if manifest.ValidVersion(base) {
		id, version = above, base
	}
	add := func(key, option, otherwise string) error {
		if v := value(b.top, key); v != nil {
			if option != "" && option != v.Value {
				return fmt.Errorf("says %s: %s, and --%s is %s: leave one out", key, v.Value, key, option)
			}
			return nil
		}
		added = append(added, key)
		b.top.Content = append(b.top.Content, scalar(key), scalar(cmp.Or(option, otherwise)))
		return nil
	}
	err = errors.Join(add("apiVersion", "", manifest.APIVersion), add("kind", "", manifest.Kind), add("id", o.ID, id), add("version", o.Version, version))
	if err != nil || value(b.top, "artifact") != nil || value(b.top, "command") != nil {
		return added, err
	}
	var artifacts []string
	for _, pattern := range []string{"*.onnx", "*.wasm"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, fmt.Errorf("looking for the artifact: %w", err)
		}
		artifacts = append(artifacts, found...)
	}
	if len(artifacts) != 1 {
		return nil, fmt.Errorf("names no artifact, and %s holds %d files .onnx or .wasm: name one as artifact", dir, len(artifacts))
	}
	if filepath.Ext(artifacts[0]) == ".wasm" {
		err = add("backend", "", manifest.BackendWASM)
	}
	return added, errors.Join(err, add("artifact", "", filepath.Base(artifacts[0])))
}

func scalar(text string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(text)
	return n
}

// allows refuses options that contradict what is stated.
func (b *begun) allows(o InitOptions) error {
	output := value(b.top, "output")
	for _, c := range []struct {
		key, flag string
		given     bool
	}{
		{"name", "--output", o.Output != ""}, {"column", "--column", o.Column != nil}, {"reconstruction", "--reconstruction", o.Reconstruction != ""},
		{"orientation", "--orientation", o.Orientation != ""},
	} {
		if c.given && value(output, c.key) != nil {
			return fmt.Errorf("states output.%s: leave out %s, or the key", c.key, c.flag)
		}
	}
	if len(o.Features) > 0 && value(b.top, "features") != nil {
		return errors.New("lists features: leave out --features, or the key")
	}
	return nil
}

func (b *begun) stated() stated {
	s := stated{begun: true, orientation: value(value(b.top, "output"), "orientation") != nil, threshold: value(b.top, "threshold") != nil}
	if list := value(b.top, "features"); list != nil {
		s.features = true
		for _, f := range list.Content {
			s.missing = append(s.missing, value(f, "missing") != nil)
		}
	}
	return s
}

// complete adds the values of a manifest that are not stated.
func (b *begun) complete(m *manifest.Manifest) error {
	m = m.Clone()
	for name := range m.Files {
		if b.hasFile(name) {
			delete(m.Files, name) // merge leaves an entry that is stated
		}
	}
	// The confidence follows from the scores of the calibration.
	if calibration := value(b.top, "calibration"); calibration != nil && value(calibration, "scores") == nil {
		m.Confidence = nil
	} else if calibration != nil && m.Confidence != nil {
		m.Confidence.TrainingSize = 0 // as many as there are scores
	}
	text, err := manifest.Encode(m)
	if err != nil {
		return err
	}
	full, err := parseBegun(text)
	if err != nil {
		return err
	}
	b.merge(b.top, full.top, "", map[string]bool{"limits": true, "backend": m.Backend == manifest.BackendONNX})
	return nil
}

// hasFile reports whether a stated key stands for a file of that name, so that none is
// written.
func (b *begun) hasFile(name string) bool {
	key := map[string]string{trainScores: "calibration", driftBins: "drift", goldenFile: "golden"}[name]
	return value(b.top, key) != nil && !slices.Contains(b.added, key)
}

// merge adds the keys of full that an object does not have.
func (b *begun) merge(object, full *yaml.Node, path string, skip map[string]bool) {
	for i := 0; i+1 < len(full.Content); i += 2 {
		key, given := full.Content[i], full.Content[i+1]
		at := path + key.Value
		have := value(object, key.Value)
		switch {
		case skip[at]:
		case have == nil:
			object.Content = append(object.Content, key, given)
			b.added = append(b.added, at)
		case at == "output" || at == "files":
			b.merge(have, given, at+".", skip)
		case at == "features" && len(have.Content) == len(given.Content):
			for k, f := range have.Content {
				if f.Kind == yaml.MappingNode {
					b.merge(f, given.Content[k], fmt.Sprintf("features[%d].", k), skip)
				}
			}
		}
	}
}
