package controller_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestHistory checks that the status and the record of a revision say how its rollout
// went: its steps, weights and figures, and its end.
func TestHistory(t *testing.T) {
	for name, c := range map[string]struct {
		failed  uint64
		replace bool
		weights []int32
		phase   string
		says    string
	}{
		"deployed":   {weights: []int32{0, 50, 100}, phase: v1alpha1.Deployed},
		"failed":     {failed: 1000, weights: []int32{0, 50, 0}, phase: v1alpha1.Failed, says: "a gate failed"},
		"superseded": {replace: true, weights: []int32{0, 50}, phase: v1alpha1.Superseded, says: "another rollout took its place"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, deployment(func(md *v1alpha1.ModelDeployment) {
				hold := &metav1.Duration{Duration: 20 * time.Second}
				md.Spec.Strategy = v1alpha1.Strategy{Type: v1alpha1.Canary, Steps: []v1alpha1.Step{{Weight: 50, Hold: hold}, {Weight: 50, Hold: hold, MinSamples: 5000}}}
			}))
			b.Figures = &telling{bins: map[string][]float64{"1.0.0": {1}, "1.1.0": {1}, "1.2.0": {1}}, failed: map[string]uint64{"1.1.0": c.failed}}
			md := b.settle()
			first, err := b.record(md.Status.Stable)
			if err != nil || len(first.Status.History) == 0 || first.Status.History[len(first.Status.History)-1].State != strategy.StateIdle {
				t.Fatalf("the first deployment: %+v, %v", first.Status, err)
			}
			md.Spec.Template.Model.Version, md.Generation = "1.1.0", 2
			hash, err := render.Hash(md.Spec.Template)
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Update(t.Context(), md); err != nil {
				t.Fatal(err)
			}
			if c.replace {
				md = b.rounds(7)
				md.Spec.Template.Model.Version, md.Generation = "1.2.0", 3
				if err := b.Update(t.Context(), md); err != nil {
					t.Fatal(err)
				}
			}
			b.rounds(40)
			rev, err := b.record(hash)
			if err != nil {
				t.Fatal(err)
			}
			var weights []int32
			figures := false
			for i, m := range rev.Status.History {
				weights = append(weights, m.Weight)
				figures = figures || m.Figures != nil && m.Figures.Rows > 0 && m.Figures.P95Microseconds > 0
				if i > 0 && m.At.Before(&rev.Status.History[i-1].At) {
					t.Errorf("moment %d is before the last one", i)
				}
			}
			if len(rev.Status.History) == 0 {
				t.Fatalf("no history: %+v", rev.Status)
			}
			end := rev.Status.History[len(rev.Status.History)-1]
			if weights = slices.Compact(weights); !slices.Equal(weights, c.weights) || !figures || end.State != strategy.StateIdle || end.Phase != c.phase || !strings.Contains(end.Message, c.says) {
				t.Errorf("weights %v, want %v; figures: %t; end: %+v", weights, c.weights, figures, end)
			}
		})
	}
}

// record returns the record of a revision.
func (b *bench) record(hash string) (*v1alpha1.ModelRevision, error) {
	var list v1alpha1.ModelRevisionList
	if err := b.List(b.t.Context(), &list); err != nil {
		return nil, err
	}
	for i := range list.Items {
		if list.Items[i].Spec.Hash == hash {
			return &list.Items[i], nil
		}
	}
	return nil, fmt.Errorf("there is no record of %s", hash)
}
