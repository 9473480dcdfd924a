package render

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// Image is a parsed reference of an image.
type Image struct{ Repository, Tag, Digest string }

var (
	repositories = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9._:/-]*[a-zA-Z0-9])?$`)
	tags         = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}$`)
)

// ParseImage parses <repository>[:<tag>][@sha256:<digest>].
func ParseImage(text string) (Image, error) {
	var i Image
	name, digest, pinned := strings.Cut(text, "@")
	if pinned && !manifest.ValidDigest(digest) {
		return Image{}, fmt.Errorf("image %q: the digest is not \"sha256:\" and 64 hex digits", text)
	}
	i.Repository, i.Digest = name, digest
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		i.Repository, i.Tag = name[:colon], name[colon+1:]
		if !tags.MatchString(i.Tag) {
			return Image{}, fmt.Errorf("image %q: %q is not a tag", text, i.Tag)
		}
	}
	if !repositories.MatchString(i.Repository) {
		return Image{}, fmt.Errorf("image %q: %q is not a repository", text, i.Repository)
	}
	return i, nil
}

// same reports whether two references name the same image. If they have digests,
// tags do not count.
func (i Image) same(o Image) bool {
	if i.Digest != "" || o.Digest != "" {
		return i.Repository == o.Repository && i.Digest == o.Digest
	}
	return i == o
}

// ImageAllowed reports whether deployments to an environment may run an image.
// Without a list they may run any image or, if they need an approval, only the
// environment's own image.
func ImageAllowed(e *v1alpha1.EnvironmentSpec, image string) bool {
	if len(e.Images) == 0 && !e.ApprovalRequired {
		return true
	}
	asked, err := ParseImage(image)
	return err == nil && slices.ContainsFunc(append([]string{e.Image}, e.Images...), func(text string) bool {
		listed, err := ParseImage(text)
		return err == nil && listed.same(asked)
	})
}
