package controller

import (
	"fmt"
	"strings"

	"github.com/pynomaly/pynomaly-runtime/deployer/gate"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// promotion describes how a revision became the stable one: which gates decided, on
// how many samples, and which did not. before is the status before that, and
// verdicts are the last verdicts of its gates.
func promotion(md *v1alpha1.ModelDeployment, before *v1alpha1.ModelDeploymentStatus, verdicts []v1alpha1.Verdict) string {
	s := &md.Spec.Strategy
	switch {
	case before.Stable == "":
		return "without gates: nothing served before"
	case md.Spec.RollbackOf == before.Stable:
		return "without gates: a rollback"
	case s.Type == v1alpha1.Rolling, s.Type == v1alpha1.Direct:
		return "without gates: the strategy is " + s.Type
	case s.Gates != nil && s.Gates.Disabled:
		return "without gates: they are disabled"
	}
	var passed, others []string
	for _, v := range verdicts {
		if v.Result == string(gate.Pass) {
			passed = append(passed, fmt.Sprintf("%s on %d samples", v.Gate, v.N))
		} else {
			others = append(others, fmt.Sprintf("%s (%s, %d samples)", v.Gate, v.Result, v.N))
		}
	}
	text := "no gate decided"
	if passed != nil {
		text = "passed " + strings.Join(passed, ", ")
	}
	if others != nil {
		text += "; not decided: " + strings.Join(others, ", ")
	}
	if s.Gates != nil && len(s.Gates.Skip) > 0 {
		text += "; not asked for: " + strings.Join(s.Gates.Skip, ", ")
	}
	if md.Spec.Promote != "" && md.Spec.Promote == before.Update {
		text += "; the other steps were skipped on request"
	}
	return text
}
