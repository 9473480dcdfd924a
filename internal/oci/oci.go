// Package oci stores models in OCI registries. Each file of a model is a layer,
// named by the annotation that ORAS and other clients use, so that any of them can
// fetch it.
//
// The package does not check what a model consists of or whether it is valid.
package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	specs "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/memory"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/retry"
)

// The media types of stored models.
const (
	ArtifactType    = "application/vnd.pynomaly.model.v1"
	FileType        = "application/vnd.pynomaly.model.file.v1"
	AnnotationModel = "io.pynomaly.model.id"
	// AnnotationContent is the digest of the model's contents, as hosts report it.
	AnnotationContent = "io.pynomaly.model.content-digest"
)

// Limits of a pulled model.
const (
	maxManifest = 4 << 20
	maxFiles    = 1000
	MaxBytes    = 4 << 30 // of all files
)

// Options say how to reach a registry.
type Options struct {
	PlainHTTP bool
	UserAgent string
	// Config is the path of a docker configuration with credentials; empty: the
	// default one.
	Config string
	// AuthHosts are further hosts, <host>[:<port>], to which the registry's
	// credentials may be sent for a token. The registry's own host and the known
	// ones of public registries are allowed anyway.
	AuthHosts []string
}

// ErrNotModel means that an artifact is not a model.
var ErrNotModel = errors.New("it is not a model")

// Model is a model to push.
type Model struct {
	ID, Version string
	Digest      string // of its contents
	Files       map[string][]byte
}

func repository(ref registry.Reference, o Options) (*remote.Repository, error) {
	for _, host := range o.AuthHosts {
		if err := ValidAuthHost(host); err != nil {
			return nil, fmt.Errorf("a host that issues tokens: %w", err)
		}
	}
	repo := &remote.Repository{Reference: ref, PlainHTTP: o.PlainHTTP}
	var store credentials.Store
	var err error
	if o.Config != "" {
		store, err = credentials.NewStore(o.Config, credentials.StoreOptions{})
	} else {
		store, err = credentials.NewStoreFromDocker(credentials.StoreOptions{})
	}
	if err != nil {
		return nil, fmt.Errorf("reading the registry's credentials: %w", err)
	}
	repo.Client = &auth.Client{
		Client: newGuard(ref, o, retry.NewTransport(nil)).client(), Cache: auth.NewCache(), Credential: credentials.Credential(store),
		Header: map[string][]string{"User-Agent": {o.UserAgent}},
	}
	return repo, nil
}

func parse(reference string) (registry.Reference, error) {
	ref, err := registry.ParseReference(reference)
	if err != nil {
		return ref, fmt.Errorf("%q is not <registry>/<repository>[:<tag>|@<digest>]: %w", reference, err)
	}
	return ref, nil
}

// Push stores a model under a reference and returns the reference by digest. Without
// a tag in the reference, the version is the tag. The same model always has the same
// digest.
func Push(ctx context.Context, reference string, m *Model, o Options) (string, error) {
	ref, err := parse(reference)
	if err != nil {
		return "", err
	}
	if ref.ValidateReferenceAsDigest() == nil {
		return "", fmt.Errorf("%s is a digest: push to a tag", reference)
	}
	tag := ref.Reference
	if tag == "" {
		tag = strings.ReplaceAll(m.Version, "+", "_") // a tag may not contain +
	}
	store := memory.New()
	var layers []specs.Descriptor
	for _, name := range sorted(m.Files) {
		if _, err := oras.PushBytes(ctx, store, FileType, m.Files[name]); err != nil && !errors.Is(err, errdef.ErrAlreadyExists) { // two files may be equal
			return "", fmt.Errorf("packing %s: %w", name, err)
		}
		d := content.NewDescriptorFromBytes(FileType, m.Files[name])
		d.Annotations = map[string]string{specs.AnnotationTitle: name}
		layers = append(layers, d)
	}
	d, err := oras.PackManifest(ctx, store, oras.PackManifestVersion1_1, ArtifactType, oras.PackManifestOptions{
		Layers: layers, ManifestAnnotations: map[string]string{
			specs.AnnotationCreated: "1970-01-01T00:00:00Z", // or each push would be another artifact
			specs.AnnotationVersion: m.Version, AnnotationModel: m.ID, AnnotationContent: m.Digest,
		},
	})
	if err != nil {
		return "", fmt.Errorf("packing the model: %w", err)
	}
	if err := store.Tag(ctx, d, tag); err != nil {
		return "", fmt.Errorf("packing the model: %w", err)
	}
	repo, err := repository(ref, o)
	if err != nil {
		return "", err
	}
	if _, err := oras.Copy(ctx, store, tag, repo, tag, oras.DefaultCopyOptions); err != nil {
		return "", fmt.Errorf("pushing to %s: %w", reference, explain(err, o))
	}
	return fmt.Sprintf("%s/%s@%s", ref.Registry, ref.Repository, d.Digest), nil
}

// Pulled describes a pulled model.
type Pulled struct {
	ID, Version string
	Digest      string // of its contents, according to the manifest
	Reference   string // by digest
}

// Pull writes the files of a model into an empty directory. Whatever the registry
// answers, Pull writes nothing outside that directory, and each file has the digest
// that the manifest gives.
func Pull(ctx context.Context, reference, dir string, o Options) (*Pulled, error) {
	ref, err := parse(reference)
	if err != nil {
		return nil, err
	}
	if ref.Reference == "" {
		return nil, fmt.Errorf("%s names no version: add :<tag> or @<digest>", reference)
	}
	repo, err := repository(ref, o)
	if err != nil {
		return nil, err
	}
	d, err := repo.Resolve(ctx, ref.Reference)
	if err != nil {
		return nil, fmt.Errorf("resolving %s: %w", reference, explain(err, o))
	}
	if d.Size > maxManifest {
		return nil, fmt.Errorf("%s: %w: its manifest has %d bytes", reference, ErrNotModel, d.Size)
	}
	text, err := content.FetchAll(ctx, repo, d)
	if err != nil {
		return nil, fmt.Errorf("fetching the manifest of %s: %w", reference, explain(err, o))
	}
	m, err := readManifest(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", reference, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", dir, err)
	}
	defer root.Close()
	for _, l := range m.Layers {
		if err := fetch(ctx, repo, l, root); err != nil {
			return nil, fmt.Errorf("fetching %s of %s: %w", l.Annotations[specs.AnnotationTitle], reference, explain(err, o))
		}
	}
	return &Pulled{
		ID: m.Annotations[AnnotationModel], Version: m.Annotations[specs.AnnotationVersion], Digest: m.Annotations[AnnotationContent],
		Reference: fmt.Sprintf("%s/%s@%s", ref.Registry, ref.Repository, d.Digest),
	}, nil
}

// validName reports whether name is a clean relative path below a directory.
func validName(name string) bool {
	odd := strings.ContainsFunc(name, func(r rune) bool { return r == '\\' || !unicode.IsPrint(r) })
	return name != "." && len(name) <= 255 && !odd && filepath.IsLocal(filepath.FromSlash(name)) && path.Clean(name) == name
}

// readManifest decodes and checks a manifest before any of its files are fetched.
func readManifest(text []byte) (*specs.Manifest, error) {
	var m specs.Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("%w: reading its manifest: %w", ErrNotModel, err)
	}
	if m.ArtifactType != ArtifactType {
		return nil, fmt.Errorf("%w: its artifact type is %.80q, not %s", ErrNotModel, m.ArtifactType, ArtifactType)
	}
	if len(m.Layers) == 0 || len(m.Layers) > maxFiles {
		return nil, fmt.Errorf("%w: it has %d files, not 1 to %d", ErrNotModel, len(m.Layers), maxFiles)
	}
	total, seen := int64(0), map[string]bool{}
	for _, l := range m.Layers {
		name := l.Annotations[specs.AnnotationTitle]
		if !validName(name) {
			return nil, fmt.Errorf("%w: a file is named %.80q", ErrNotModel, name)
		}
		if seen[name] {
			return nil, fmt.Errorf("%w: it has two files %s", ErrNotModel, name)
		}
		seen[name] = true
		if l.Size < 0 || l.Size > MaxBytes {
			return nil, fmt.Errorf("%w: %s has %d bytes", ErrNotModel, name, l.Size)
		}
		if total += l.Size; total > MaxBytes {
			return nil, fmt.Errorf("it has more than %d bytes", int64(MaxBytes))
		}
	}
	return &m, nil
}

// fetch writes one file. It removes the file if its digest is wrong.
func fetch(ctx context.Context, repo *remote.Repository, l specs.Descriptor, root *os.Root) (err error) {
	name := filepath.FromSlash(l.Annotations[specs.AnnotationTitle])
	body, err := repo.Fetch(ctx, l)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	v := content.NewVerifyReader(body, l)
	if _, err := io.Copy(f, v); err != nil {
		return err
	}
	if err := v.Verify(); err != nil {
		return err
	}
	return f.Sync()
}

// explain adds a hint to common errors.
func explain(err error, o Options) error {
	switch {
	case !o.PlainHTTP && strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return fmt.Errorf("%w: the registry speaks plain HTTP: allow it with --plain-http", err)
	case errors.Is(err, auth.ErrBasicCredentialNotFound), strings.Contains(err.Error(), "credential required"), strings.Contains(err.Error(), "401"):
		return fmt.Errorf("%w: log in with any tool that writes docker's config.json", err)
	}
	return err
}

func sorted(files map[string][]byte) []string {
	out := make([]string, 0, len(files))
	for name := range files {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
