package controller_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestPinnedClients checks that clients which name the old version are told of before
// the new one has traffic, and that their failures are the new one's.
func TestPinnedClients(t *testing.T) {
	for name, c := range map[string]struct {
		pinned       uint64
		version      string
		warns, phase string
		says         string
	}{
		"none":          {version: "1.1.0", phase: v1alpha1.Deployed},
		"a fifth":       {pinned: 20, version: "1.1.0", warns: "20 % of the last ", phase: v1alpha1.Failed, says: " failures name a version that the new revision does not serve"},
		"another image": {pinned: 20, version: "1.0.0", phase: v1alpha1.Deployed},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, deployment(func(md *v1alpha1.ModelDeployment) {
				md.Spec.Strategy = v1alpha1.Strategy{Type: v1alpha1.Canary, Steps: []v1alpha1.Step{{Weight: 50, Hold: &metav1.Duration{Duration: 10 * time.Second}}}}
			}))
			b.Figures = &telling{bins: map[string][]float64{"1.0.0": {1}, "1.1.0": {1}}, failed: map[string]uint64{}, pinned: c.pinned}
			md := b.settle()
			md.Spec.Template.Model.Version, md.Spec.Template.Image, md.Generation = c.version, "x:2", 2
			if err := b.Update(t.Context(), md); err != nil {
				t.Fatal(err)
			}
			if md = b.rounds(1); md.Status.Rollout.Weight != 0 {
				t.Fatalf("%+v", md.Status)
			}
			if got := md.Status.Rollout.Warning; (got == "") != (c.warns == "") || !strings.HasPrefix(got, c.warns) {
				t.Errorf("it warns %q, want %q", got, c.warns)
			}
			if c.warns != "" && !strings.HasSuffix(md.Status.Rollout.Warning, " requests name version 1.0.0, which the new revision does not serve: they fail there") {
				t.Errorf("%q", md.Status.Rollout.Warning)
			}
			md = b.rounds(40)
			if md.Status.Phase != c.phase || !strings.Contains(md.Status.Message, c.says) || md.Status.Rollout.Warning != "" {
				t.Errorf("%s: %s; %q", md.Status.Phase, md.Status.Message, md.Status.Rollout.Warning)
			}
		})
	}
}
