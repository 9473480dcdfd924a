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

// ValidImage returns an error if a text is not a reference of an image.
func ValidImage(text string) error { return check("image", text) }

// ValidHost returns an error if a text is not a host name of a route.
func ValidHost(text string) error { return check("host", text) }

// check returns an error if a value is not one of the named rule's.
func check(rule string, v any) error {
	for _, r := range Rules() {
		if r.Name == rule {
			return r.Check(v)
		}
	}
	return fmt.Errorf("there is no rule %s", rule)
}

// Valid returns an error if a setting is not one of its rule's values.
func (s System) Valid() error {
	all := []error{
		check("namespace", s.Namespace), check("image", s.Image), check("imagePullPolicy", string(s.ImagePullPolicy)),
		check("controllerReplicas", int64(s.Replicas)), check("prometheusURL", s.Prometheus),
	}
	for _, name := range s.PullSecrets {
		all = append(all, check("imagePullSecret", name))
	}
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}

// Valid returns an error if a setting is not one of its rule's values, or if settings
// contradict each other.
func (p Plain) Valid() error {
	for _, r := range Rules() {
		if r.values == nil {
			continue
		}
		for _, v := range r.values(&p) {
			if err := r.Check(v); err != nil {
				return err
			}
		}
	}
	if err := p.validPeers(); err != nil {
		return err
	}
	if len(p.Pod.Egress) == 0 && p.Traces.Endpoint != "" {
		return fmt.Errorf("--trace-endpoint is %q, and pods may connect to nothing: list the receiver, and DNS, in egress of the file of --pod", p.Traces.Endpoint)
	}
	if err := validAccess(p.access()); err != nil {
		return err
	}
	return p.validReplicas()
}

// validPeers refuses rules that would mean everybody, and a Gateway without a name.
func (p Plain) validPeers() error {
	for i, rule := range p.Pod.Egress {
		if len(rule.To) == 0 {
			return fmt.Errorf("egress[%d] of --pod has no to, which would admit every address: list those that pods may connect to, such as {ipBlock: {cidr: 192.0.2.0/24}}", i)
		}
	}
	if _, name := SplitName(p.Gateway); p.Gateway != "" && name == "" {
		return fmt.Errorf("--gateway is %q; must be [<namespace>/]<name>", p.Gateway)
	}
	return nil
}

// validReplicas checks the replicas against the autoscaler's range.
func (p Plain) validReplicas() error {
	switch {
	case p.MaxReplicas == 0:
		return nil
	case p.Replicas < 1:
		return fmt.Errorf("--replicas is %d, and an autoscaler needs at least 1: set --max-replicas 0 for a server without an autoscaler", p.Replicas)
	case p.MaxReplicas < p.Replicas:
		return fmt.Errorf("--replicas is %d, which is above --max-replicas %d: raise that, or set it to 0 for a server without an autoscaler", p.Replicas, p.MaxReplicas)
	}
	return nil
}
