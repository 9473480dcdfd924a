//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// once checks that an approval lets one rollout begin, and none after its end.
func (w *world) once(t *testing.T, digest string) {
	const production = "pynomaly-production"
	ctx := context.Background()
	deploy := func(level string) string {
		t.Helper()
		out := w.run(t, 0, append([]string{"deploy", model + "@1.1.0", "--env", "production", "--models", t.TempDir(), "--digest", digest, "--as", "alice", "--json", "--set", "LOG_LEVEL=" + level}, steps("20:10m")...)...)
		var d struct {
			ID string `json:"deployment_id"`
		}
		if err := json.Unmarshal([]byte(out), &d); err != nil || d.ID == "" {
			t.Fatalf("%v: %s", err, out)
		}
		return d.ID
	}
	state := func() *v1alpha1.ModelDeployment {
		t.Helper()
		var md v1alpha1.ModelDeployment
		w.get(t, client.ObjectKey{Namespace: production, Name: model}, &md)
		return &md
	}
	waits := func(reason string) {
		t.Helper()
		w.eventually(t, time.Minute, "the approval is "+reason, func() bool {
			md := state()
			c := meta.FindStatusCondition(md.Status.Conditions, v1alpha1.ConditionApproved)
			return c != nil && c.Reason == reason && c.ObservedGeneration == md.Generation && md.Status.Rollout.Begun == nil
		})
	}
	id := deploy("warn")
	waits("ChangedAfterApproval") // bob has approved another request for this version
	asked := state().Spec
	w.run(t, 0, "approve", id, "--digest", w.approves(t, id, "+ template.config.LOG_LEVEL: warn"), "--as", "bob")
	w.eventually(t, 2*time.Minute, "the rollout has begun", func() bool { return state().Status.Rollout.Weight == 20 })
	deploy("error")
	waits("ChangedAfterApproval")
	// Alice writes the object as it was approved. The command would make another attempt.
	w.eventually(t, 10*time.Second, "alice has asked for the same again", func() bool {
		md := state()
		md.Spec = asked
		return w.as(t, "alice").Update(ctx, md) == nil
	})
	waits("Used")
	// An approval that ends before the image may run.
	var e v1alpha1.Environment
	set := func(soak *metav1.Duration) {
		w.eventually(t, 10*time.Second, "the Environment is written", func() bool {
			w.get(t, client.ObjectKey{Name: "production"}, &e)
			e.Spec.Soak = soak
			return w.Update(ctx, &e) == nil
		})
	}
	set(span(24 * time.Hour))
	defer set(nil)
	late := deploy("info")
	w.eventually(t, time.Minute, "it waits for staging", func() bool { return strings.Contains(state().Status.Message, "must run in staging") })
	ends := time.Now().Add(3 * time.Second)
	a := &v1alpha1.ModelApproval{ObjectMeta: metav1.ObjectMeta{GenerateName: "short-", Namespace: production}, Spec: v1alpha1.ModelApprovalSpec{
		Model: v1alpha1.ModelReference{ID: model, Version: "1.1.0", Digest: digest}, Environment: "production", ApprovedBy: "bob",
		Revision: late, Digest: state().Status.Digest, ExpiresAt: &metav1.Time{Time: ends},
	}}
	if err := w.as(t, "bob").Create(ctx, a); err != nil {
		t.Fatal(err)
	}
	w.eventually(t, time.Minute, "the approval has ended", func() bool { return time.Now().After(ends.Add(time.Second)) })
	set(nil)
	waits("Expired")
}
