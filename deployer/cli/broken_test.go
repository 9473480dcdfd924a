package cli

import (
	"testing"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestReplaces checks that --replace-broken names the requested revision, and that the next
// request without it names none.
func TestReplaces(t *testing.T) {
	md := &v1alpha1.ModelDeployment{Spec: v1alpha1.ModelDeploymentSpec{Template: v1alpha1.RevisionTemplate{Model: v1alpha1.ModelReference{ID: "cardio", Version: "1.1.0"}}}}
	hash, err := render.Hash(md.Spec.Template)
	if err != nil {
		t.Fatal(err)
	}
	w := &wish{replicas: -1, samples: -1}
	w.broken = true
	if err := w.replaces(md); err != nil || md.Spec.ReplaceBroken != hash {
		t.Errorf("%q, %v", md.Spec.ReplaceBroken, err)
	}
	w.broken = false
	if err := w.replaces(md); err != nil || md.Spec.ReplaceBroken != "" {
		t.Errorf("%q, %v", md.Spec.ReplaceBroken, err)
	}
}
