package render

import (
	"encoding/json"
	"fmt"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
	"github.com/pynomaly/pynomaly-runtime/internal/digest"
)

// Contents are all that an approval covers: everything of a ModelDeployment that reaches
// its pods, and what a rollout must pass before they get all traffic.
//
// How many pods there are, as long as there are some, and which route leads to them is left out: that changes daily
// and changes nothing about what answers. Times that only bound how long a rollout may
// take are left out as well.
type Contents struct {
	Environment string                    `json:"environment"`
	Namespace   string                    `json:"namespace"`
	Name        string                    `json:"name"`
	Template    v1alpha1.RevisionTemplate `json:"template"`
	Rollout     Checks                    `json:"rollout"`
}

// Checks are what a rollout must pass.
type Checks struct {
	Strategy string          `json:"strategy"`
	Steps    []v1alpha1.Step `json:"steps,omitempty"`
	Gates    *v1alpha1.Gates `json:"gates,omitempty"`
	// Skipped: spec.promote passes over the remaining steps and their gates.
	Skipped bool `json:"skipped,omitempty"`
	// RollbackOf: a rollout that goes back has no steps either.
	RollbackOf string `json:"rollbackOf,omitempty"`
	// Unserved: there are no pods, so that gates have nothing to judge.
	Unserved bool `json:"unserved,omitempty"`
}

// ChecksOf are those of a strategy.
func ChecksOf(s v1alpha1.Strategy) Checks {
	return Checks{Strategy: s.Type, Steps: s.Steps, Gates: s.Gates}
}

// ContentsOf are what a ModelDeployment asks for.
func ContentsOf(md *v1alpha1.ModelDeployment) (Contents, error) {
	hash, err := Hash(md.Spec.Template)
	if err != nil {
		return Contents{}, err
	}
	c := Contents{Environment: md.Spec.Environment, Namespace: md.Namespace, Name: md.Name, Template: md.Spec.Template, Rollout: ChecksOf(md.Spec.Strategy)}
	c.Rollout.Skipped, c.Rollout.RollbackOf = md.Spec.Promote == hash, md.Spec.RollbackOf
	c.Rollout.Unserved = md.Spec.Replicas == 0 && md.Spec.Autoscaling == nil
	return c, nil
}

// Digest is of the contents as a whole. Two that differ in anything have different ones.
func (c Contents) Digest() (string, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("writing what is to be approved: %w", err)
	}
	return digest.Of(text), nil
}
