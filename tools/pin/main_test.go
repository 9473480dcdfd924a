package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// TestPin checks that digests come from the registry, that existing ones are
// replaced, and that the rest is unchanged.
func TestPin(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	image := strings.TrimPrefix(server.URL, "http://") + "/base:1"
	push := func() string {
		t.Helper()
		ref, err := name.ParseReference(image)
		if err != nil {
			t.Fatal(err)
		}
		img, err := random.Image(10, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(ref, img); err != nil {
			t.Fatal(err)
		}
		d, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return d.String()
	}
	const text = "# FROM comment:1\nFROM --platform=linux/amd64 %[1]s AS build\nRUN echo FROM x\nFROM %[1]s\nCOPY --from=build /a /a\nFROM build\nFROM scratch\n"
	file := filepath.Join(t.TempDir(), "Dockerfile")
	if err := os.WriteFile(file, fmt.Appendf(nil, text, image), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := pinned(file); err == nil || !strings.Contains(err.Error(), "make base-images") {
		t.Errorf("without digests: %v", err)
	}
	for range 2 {
		digest := push()
		if err := pin(t.Context(), file, io.Discard); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != fmt.Sprintf(text, image+"@"+digest) {
			t.Errorf("%v: %s", err, got)
		}
		if err := pinned(file); err != nil {
			t.Error(err)
		}
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	if err := pin(t.Context(), file, io.Discard); err == nil {
		t.Error("pin succeeded without a registry")
	}
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file was changed: %v", err)
	}
}
