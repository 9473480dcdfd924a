// Package render makes the Kubernetes objects that serve a model: those that the
// controller keeps up to date, and the plain manifests of `deploy render`.
//
// It writes nothing to a cluster and decides nothing about rollouts.
package render

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
	"github.com/pynomaly/pynomaly-runtime/internal/digest"
)

// Labels and annotations of the objects.
const (
	LabelDeployment   = v1alpha1.Group + "/deployment" // names the ModelDeployment
	LabelRevision     = v1alpha1.Group + "/revision"   // the revision's hash
	LabelHost         = "app.kubernetes.io/name"
	HostName          = "pynomaly-model-server" // the value of LabelHost of all hosts
	AnnotationModel   = v1alpha1.Group + "/model-id"
	AnnotationWeights = v1alpha1.Group + "/weights" // of a Service: the planned weights
	// AnnotationAccess of a Deployment changes with who may use its hosts.
	AnnotationAccess = v1alpha1.Group + "/access"
	// AnnotationKeysChanged of a pod is when keys of its host were changed. Writing it
	// makes the kubelet look at the pod, and so at the Secret of keys, at once.
	AnnotationKeysChanged = v1alpha1.Group + "/keys-changed"
	// AnnotationRestored names the user who restored an object from a backup.
	AnnotationRestored = v1alpha1.Group + "/restored-by"
	// NumbersName is a ConfigMap of a namespace with the largest number that a revision of
	// each ModelDeployment has had.
	NumbersName = "pynomaly-numbers"
	ManagedBy   = "app.kubernetes.io/managed-by"
	Manager     = "pynomaly-runtime"
)

const maxBase = 40

// BaseName returns the name of a model's objects: at most 40 characters of the id in
// lower case, with - for _. If that differs from the id, six hex digits of the id's
// SHA-256 follow, so that two models never share a name.
func BaseName(id string) string {
	name := strings.ReplaceAll(strings.ToLower(id), "_", "-")
	if len(name) > maxBase {
		name = name[:maxBase]
	}
	name = strings.Trim(name, "-")
	if name == "" || (name[0] >= '0' && name[0] <= '9') { // names of Services begin with a letter
		name = "m-" + name
		if len(name) > maxBase {
			name = name[:maxBase]
		}
		name = strings.TrimRight(name, "-")
	}
	if name == id {
		return name
	}
	return name + "-" + digest.Hex([]byte(id))[:6]
}

// Hash returns eight hex digits of a template's digest, which distinguish revisions
// in the names of objects. Two templates may have the same hash, but not the same
// digest.
func Hash(t v1alpha1.RevisionTemplate) (string, error) {
	whole, err := TemplateDigest(t)
	if err != nil {
		return "", err
	}
	return whole[:8], nil
}

// TemplateDigest returns the SHA-256 of a template in hex.
func TemplateDigest(t v1alpha1.RevisionTemplate) (string, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return "", fmt.Errorf("writing the template: %w", err)
	}
	return digest.Hex(text), nil
}

// DeploymentID returns <model>-<environment>-<number>.
func DeploymentID(model, environment string, number int32) string {
	return fmt.Sprintf("%s-%s-%d", model, environment, number)
}
