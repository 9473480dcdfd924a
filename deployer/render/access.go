package render

import (
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/digest"
)

const (
	// accessDir is where a host finds the items of the Secret of keys. The whole Secret
	// is mounted, so that changes of it reach the pods.
	accessDir = "/etc/pynomaly-runtime/access"
	keysFile  = accessDir + "/" + KeysItem

	accessVolume = "access"
	accessMode   = 0o440 // the pods' group reads it

	// The environment variables of who may use a host.
	authPrefix   = "PYNOMALY_AUTH_"
	keysEnv      = authPrefix + "KEYS"
	anonymousEnv = authPrefix + "ANONYMOUS"
	jwtEnv       = authPrefix + "JWT"
	insecureEnv  = "PYNOMALY_SERVER_INSECURE"

	// viewer is the role of callers without credentials.
	viewer = "viewer"
)

// DecidesAccess reports whether an environment variable of a host says who may use it.
func DecidesAccess(name string) bool {
	return strings.HasPrefix(name, authPrefix) || name == insecureEnv
}

// validAccess returns an error if a host would refuse to start with what a says. The
// rules are the host's.
func validAccess(a v1alpha1.Access) error {
	if problems := validation.IsDNS1123Subdomain(a.KeysSecret); len(problems) > 0 {
		return fmt.Errorf("the Secret of keys %q: %s", a.KeysSecret, strings.Join(problems, "; "))
	}
	if _, err := config.Decode([]byte("auth: {keys: keys.yaml, jwt: " + issuers(a.JWT) + "}")); err != nil {
		return fmt.Errorf("the access of the host: %w", err)
	}
	return nil
}

// AccessDigest returns a digest of everything in a pod that says who may use its host.
func AccessDigest(a v1alpha1.Access) string {
	return digest.Hex(fmt.Appendf(nil, "%q %q %s", a.KeysSecret, anonymous(a), issuers(a.JWT)))[:16]
}

// secured returns the volume with the Secret of keys, and its mount. A pod does not start
// without the Secret.
func secured(a v1alpha1.Access) (corev1.Volume, corev1.VolumeMount) {
	return corev1.Volume{Name: accessVolume, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: a.KeysSecret, DefaultMode: ptr(int32(accessMode))}}},
		corev1.VolumeMount{Name: accessVolume, MountPath: accessDir, ReadOnly: true}
}

// anonymous returns the role of callers without credentials; empty: they are refused.
func anonymous(a v1alpha1.Access) string {
	if a.AnonymousPredict != nil && *a.AnonymousPredict {
		return viewer
	}
	return ""
}

// issuers returns auth.jwt of a host as one line. Keys are in alphabetical order, as the
// chart writes them.
func issuers(all []v1alpha1.JWT) string {
	out := make([]map[string]any, 0, len(all))
	for i := range all {
		j := &all[i]
		one := map[string]any{"issuer": j.Issuer, "audience": j.Audience, "algorithms": j.Algorithms, "roles": j.Roles}
		set(one, "jwks", item(j.JWKS))
		set(one, "ca", item(j.CA))
		set(one, "secret_file", item(j.SecretFile))
		if j.Leeway != nil {
			one["leeway"] = j.Leeway.Duration.String()
		}
		claims := map[string]any{}
		set(claims, "subject", j.Claims.Subject)
		set(claims, "roles", j.Claims.Roles)
		set(claims, "models", j.Claims.Models)
		if len(claims) > 0 {
			one["claims"] = claims
		}
		out = append(out, one)
	}
	text, err := json.Marshal(out)
	if err != nil {
		return "" // maps of texts can be written
	}
	return string(text)
}

func set(m map[string]any, key, value string) {
	if value != "" {
		m[key] = value
	}
}

// item returns the file of an item of the Secret, or a URL as it is.
func item(name string) string {
	if name == "" || strings.Contains(name, "://") {
		return name
	}
	return accessDir + "/" + name
}
