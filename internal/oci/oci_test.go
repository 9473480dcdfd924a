package oci

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go/v1"
)

func manifestOf(t testing.TB, kind string, names ...string) []byte {
	t.Helper()
	m := specs.Manifest{ArtifactType: kind}
	for _, name := range names {
		m.Layers = append(m.Layers, specs.Descriptor{
			MediaType: FileType, Digest: digest.FromString(name), Size: 1, Annotations: map[string]string{specs.AnnotationTitle: name},
		})
	}
	text, err := json.Marshal(&m)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestReadManifest(t *testing.T) {
	for _, name := range []string{"model.yaml", "a/b.onnx", "..a", "with space", "ü.json"} {
		if _, err := readManifest(manifestOf(t, ArtifactType, name)); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", "../x", "/etc/passwd", "a/../../x", "a//b", "a/", "./a", `a\b`, "a\nb", "a\x00", strings.Repeat("a", 256)} {
		if _, err := readManifest(manifestOf(t, ArtifactType, name)); !errors.Is(err, ErrNotModel) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for what, text := range map[string][]byte{
		"nothing": nil, "no object": []byte("[]"), "an image": manifestOf(t, "", "a"), "no files": manifestOf(t, ArtifactType), "twice": manifestOf(t, ArtifactType, "a", "a"),
	} {
		if _, err := readManifest(text); !errors.Is(err, ErrNotModel) {
			t.Errorf("%s: %v", what, err)
		}
	}
	huge := strings.Replace(string(manifestOf(t, ArtifactType, "a", "b")), `"size":1`, `"size":4294967296`, 1)
	if _, err := readManifest([]byte(huge)); err == nil {
		t.Error("a model above the limit was accepted")
	}
}

// FuzzManifest checks that no manifest names a file outside the directory.
func FuzzManifest(f *testing.F) {
	f.Add(manifestOf(f, ArtifactType, "model.yaml", "a/b.onnx"))
	f.Add(manifestOf(f, ArtifactType, "../x"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := readManifest(text)
		if err != nil {
			return
		}
		total := int64(0)
		for _, l := range m.Layers {
			name := l.Annotations[specs.AnnotationTitle]
			total += l.Size
			if strings.HasPrefix(name, "/") || name == ".." || strings.HasPrefix(name, "../") || strings.Contains(name, "/../") {
				t.Errorf("%q", name)
			}
		}
		if total > MaxBytes || total < 0 {
			t.Errorf("%d bytes", total)
		}
	})
}
