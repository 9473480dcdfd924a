package render

import (
	"fmt"
	"strings"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// ValidModel returns an error if the name of a model's version is invalid. The rules
// are the host's. A valid name has none of the characters that join names in
// arguments.
func ValidModel(m v1alpha1.ModelReference) error {
	switch {
	case !manifest.ValidID(m.ID):
		return fmt.Errorf("model id %q: must be 1 to %d letters, digits, - and _, beginning with a letter or digit", m.ID, manifest.MaxIDLength)
	case len(m.Version) > maxVersion || !manifest.ValidVersion(m.Version):
		return fmt.Errorf("version %q of model %s: must be a semantic version such as 1.2.0 or 1.2.0-rc.1, without build metadata", m.Version, m.ID)
	case m.Digest != "" && !manifest.ValidDigest(m.Digest):
		return fmt.Errorf("digest %q of model %s: must be \"sha256:\" and 64 hex digits", m.Digest, m.ID)
	}
	return nil
}

// maxVersion is the longest version that the resource definitions accept.
const maxVersion = 128

// SystemNamespace reports whether a namespace belongs to the cluster or the
// controller. No model is served there.
func SystemNamespace(name, controller string) bool {
	return strings.HasPrefix(name, "kube-") || name == controller
}
