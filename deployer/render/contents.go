package render

import (
	"encoding/json"
	"fmt"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
	"github.com/pynomaly/pynomaly-runtime/internal/digest"
)

// Contents are everything that an approval covers: the parts of a ModelDeployment
// that reach its pods, and what a rollout must pass before they get all traffic.
//
// An approval does not cover the number of pods, unless it is zero, or the route to
// them: these change often and do not change the answers. Nor does it cover limits
// on the duration of a rollout.
type Contents struct {
	Environment string                    `json:"environment"`
	Namespace   string                    `json:"namespace"`
	Name        string                    `json:"name"`
	Template    v1alpha1.RevisionTemplate `json:"template"`
	Rollout     Checks                    `json:"rollout"`
	// Attempt is spec.attempt: what was given up is approved anew.
	Attempt int32 `json:"attempt,omitempty"`
}

// Checks are what a rollout must pass.
type Checks struct {
	Strategy string          `json:"strategy"`
	Steps    []v1alpha1.Step `json:"steps,omitempty"`
	Gates    *v1alpha1.Gates `json:"gates,omitempty"`
	// Skipped says that spec.promote skips the remaining steps and their gates.
	Skipped bool `json:"skipped,omitempty"`
	// RollbackOf is set if the rollout goes back, which has no steps either.
	RollbackOf string `json:"rollbackOf,omitempty"`
	// Replaces says that the revision is not compared with the stable one, because that is
	// broken.
	Replaces bool `json:"replacesBroken,omitempty"`
	// Unserved says that there are no pods, so that gates have nothing to judge.
	Unserved bool `json:"unserved,omitempty"`
}

// ChecksOf returns the checks of a strategy.
func ChecksOf(s v1alpha1.Strategy) Checks {
	return Checks{Strategy: s.Type, Steps: s.Steps, Gates: s.Gates}
}

// ContentsOf returns the contents of a ModelDeployment.
func ContentsOf(md *v1alpha1.ModelDeployment) (Contents, error) {
	hash, err := Hash(md.Spec.Template)
	if err != nil {
		return Contents{}, err
	}
	c := Contents{Environment: md.Spec.Environment, Namespace: md.Namespace, Name: md.Name, Template: md.Spec.Template, Rollout: ChecksOf(md.Spec.Strategy), Attempt: md.Spec.Attempt}
	c.Rollout.Skipped, c.Rollout.RollbackOf = md.Spec.Promote == hash, md.Spec.RollbackOf
	c.Rollout.Replaces = md.Spec.ReplaceBroken == hash
	c.Rollout.Unserved = md.Spec.Replicas == 0 && md.Spec.Autoscaling == nil
	return c, nil
}

// Digest returns a digest of the contents. Contents that differ have different
// digests.
func (c Contents) Digest() (string, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("encoding the contents of an approval: %w", err)
	}
	return digest.Of(text), nil
}
