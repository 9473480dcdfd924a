package controller

import (
	"github.com/pynomaly/pynomaly-runtime/deployer/gate"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// alone says why the new revision is not compared with the stable one, or returns "".
func alone(md *v1alpha1.ModelDeployment, seen *sight, k *comparison) string {
	switch s := seen.world.Revisions[k.stable]; {
	case md.Spec.ReplaceBroken == k.update:
		return "it replaces a broken version (--replace-broken)"
	case s.Endpoints == 0 && s.Ready == 0:
		return "no pod of the stable version is ready"
	}
	return ""
}

// evaluate compares the two sides at the present look, or judges the new one alone.
func (k *comparison) evaluate(l gate.Limits, stable, update gate.Sample) []gate.Verdict {
	if k.alone != "" {
		return gate.Alone(l, update, k.look.K, k.alone)
	}
	return gate.Against(gate.Odd(l, stable, update, k.look.K), gate.Evaluate(l, stable, update, k.look.K))
}

// replayed returns the verdicts of replayed rows: none if the new revision is judged alone.
func (k *comparison) replayed(all []gate.Verdict) []gate.Verdict {
	if k.alone == "" {
		return gate.Against(gate.OddPairs(k.shadow.pairs), all)
	}
	out := make([]gate.Verdict, 0, len(all))
	for _, v := range all {
		out = append(out, gate.Verdict{Gate: v.Gate, Result: gate.Skipped, N: v.N, Limit: v.Limit, Message: "not compared: " + k.alone})
	}
	return out
}
