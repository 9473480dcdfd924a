//go:build e2e

package e2e

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestOthers runs the scenarios of TestRollouts that need not pass before a change is
// merged. Other scenarios show much of the same.
func TestOthers(t *testing.T) {
	w := open(t)
	defer w.table(t)
	w.scenario(t, "9 v3 supersedes v2 mid-canary", 2, func(t *testing.T, l *load) {
		second := w.deploy(t, "1.1.0", "--strategy", "canary", "--steps", "30:2m")
		w.eventually(t, long, "1.1.0 answers", func() bool { return !l.last("1.1.0").IsZero() })
		third := w.deploy(t, "1.2.0", canary...)
		w.follow(t, third, v1alpha1.Deployed, long)
		w.follow(t, second, v1alpha1.Superseded, time.Minute)
		w.eventually(t, time.Minute, "none of 1.1.0 is left", func() bool { return len(w.pods(t, w.revision(t, second).Spec.Hash)) == 0 })
	})
	w.scenario(t, "12 all canary pods deleted, then abort", 2, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", "--strategy", "canary", "--steps", "30:2m")
		w.eventually(t, long, "1.1.0 answers", func() bool { return !l.last("1.1.0").IsZero() })
		hash := w.revision(t, id).Spec.Hash
		for _, p := range w.pods(t, hash) {
			if err := w.Delete(context.Background(), &p); err != nil {
				t.Fatal(err)
			}
		}
		w.run(t, 0, "abort", id)
		w.follow(t, id, v1alpha1.RolledBack, long)
		w.eventually(t, time.Minute, "no pods are left", func() bool { return len(w.pods(t, hash)) == 0 })
	})
	w.scenario(t, "25a somebody reverts the weights", 2, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", "--strategy", "canary", "--steps", "30:15s")
		w.eventually(t, long, "1.1.0 answers", func() bool { return !l.last("1.1.0").IsZero() })
		for range 10 {
			var r gatewayv1.HTTPRoute
			w.get(t, client.ObjectKey{Namespace: namespace, Name: model}, &r)
			for i := range r.Spec.Rules[0].BackendRefs {
				weight := rand.Int32N(50) + 1
				r.Spec.Rules[0].BackendRefs[i].Weight = &weight
			}
			_ = w.Update(context.Background(), &r) // the controller may be faster
			time.Sleep(300 * time.Millisecond)
		}
		hash := w.revision(t, id).Spec.Hash
		w.eventually(t, 10*time.Second, "the weight is as planned", func() bool { return w.weight(t, hash) == 30 })
		w.follow(t, id, v1alpha1.Deployed, long)
	})
	w.scenario(t, "25b corrupt model", 2, func(t *testing.T, l *load) {
		id := w.deploy(t, "2.1.0", "--strategy", "canary", "--steps", "10:1s")
		w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Deadline = span(20 * time.Second) })
		w.follow(t, id, v1alpha1.Failed, long)
	})
	w.scenario(t, "25c image cannot be pulled", 2, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", "--strategy", "canary", "--steps", "10:1s", "--image", "pynomaly-runtime:no-such-tag")
		w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Deadline = span(20 * time.Second) })
		w.follow(t, id, v1alpha1.Failed, long)
		if m := w.revision(t, id).Status.Message; !strings.Contains(m, "Image") {
			t.Errorf("it failed with %q", m)
		}
		w.run(t, 0, "deploy", model+"@1.1.0", "--env", "development", "--models", w.models, "--image", w.image, "--strategy", "direct", "--wait")
	})
}
