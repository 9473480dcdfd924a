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
	LabelDeployment   = v1alpha1.Group + "/deployment" // of the ModelDeployment
	LabelRevision     = v1alpha1.Group + "/revision"   // the revision's hash
	AnnotationModel   = v1alpha1.Group + "/model-id"
	AnnotationWeights = v1alpha1.Group + "/weights" // of a Service, as they were planned
	// AnnotationRestored is who has restored an object from a backup.
	AnnotationRestored = v1alpha1.Group + "/restored-by"
	ManagedBy          = "app.kubernetes.io/managed-by"
	Manager            = "pynomaly-runtime"
)

const maxBase = 40

// BaseName is the name of a model's objects: the id in lower case with - for _, at most
// 40 characters of it. Where that is not the id itself, six hex digits of the id's
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

// Hash tells a template from others in the names of its objects: eight hex digits of its
// digest. Two templates may share it; their digests differ.
func Hash(t v1alpha1.RevisionTemplate) (string, error) {
	whole, err := TemplateDigest(t)
	if err != nil {
		return "", err
	}
	return whole[:8], nil
}

// TemplateDigest is the SHA-256 of a template, in hex.
func TemplateDigest(t v1alpha1.RevisionTemplate) (string, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return "", fmt.Errorf("writing the template: %w", err)
	}
	return digest.Hex(text), nil
}

// DeploymentID is <model>-<environment>-<number>.
func DeploymentID(model, environment string, number int32) string {
	return fmt.Sprintf("%s-%s-%d", model, environment, number)
}
