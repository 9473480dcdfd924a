package catalog

import (
	"slices"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// Policy is what a host grants models, whatever their manifests request.
type Policy struct {
	Max manifest.Maxima // zero: manifest.DefaultMaxima
	// Trusted lists the artifacts that may do what needs trust, by digest
	// ("sha256:...") or by the directory from which they were read.
	Trusted []string
}

func (p Policy) max() manifest.Maxima {
	if p.Max == (manifest.Maxima{}) {
		return manifest.DefaultMaxima()
	}
	return p.Max
}

// apply puts what the host grants in place of what the manifest asks for.
func (p Policy) apply(c *Contents) {
	m := c.Manifest.Lowered(p.max())
	c.Manifest = m
	asked := m.Trusted
	if m.Trusted = p.trusts(c); asked && !m.Trusted {
		c.wish = "the manifest asks to be trusted, which only the host's operator grants: list " + c.Digest + " or the model's directory in backends.onnx.trusted"
		m.Warnings = append(m.Warnings, c.wish)
	}
}

// trusts reports whether the artifact is in the list.
func (p Policy) trusts(c *Contents) bool {
	return slices.ContainsFunc(p.Trusted, func(one string) bool {
		if manifest.ValidDigest(one) {
			return one == c.Digest
		}
		return !slices.ContainsFunc(append([]string{c.dir}, c.outside...), func(path string) bool { return !backends.Within(path, one) })
	})
}
