package controller_test

import (
	"errors"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/controller"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestApprovalOnce checks that an approval lets one rollout begin: after another
// revision has taken its place, the approved one waits for another approval.
func TestApprovalOnce(t *testing.T) {
	first := requested(nil)
	b := newBench(t, first, guarded(nil))
	ctx := t.Context()
	uids := 0
	approveNow := func(md *v1alpha1.ModelDeployment) {
		t.Helper()
		uids++
		a := approve(t, md, b.now, func(a *v1alpha1.ModelApproval) { a.UID = types.UID("approval-" + string(rune('0'+uids))) })
		a.Name += "-" + string(a.UID)
		if err := b.Create(ctx, a); err != nil {
			t.Fatal(err)
		}
	}
	request := func(version, digest string) *v1alpha1.ModelDeployment {
		t.Helper()
		var md v1alpha1.ModelDeployment
		b.get("cardio", &md)
		md.Spec.Template.Model.Version, md.Spec.Template.Model.Digest = version, sha(digest)
		md.Generation++
		if err := b.Update(ctx, &md); err != nil {
			t.Fatal(err)
		}
		return &md
	}
	approveNow(first)
	if md := b.settle(); md.Status.Phase != v1alpha1.Deployed || len(md.Status.UsedApprovals) != 1 {
		t.Fatalf("%+v", md.Status)
	}
	approveNow(request("1.1.0", "b"))
	if md := b.rounds(1); md.Status.Rollout.Begun == nil || len(md.Status.UsedApprovals) != 2 {
		t.Fatalf("%+v", md.Status)
	}
	request("1.2.0", "c") // takes its place, and waits itself
	if md := b.rounds(3); md.Status.Phase != v1alpha1.Pending {
		t.Fatalf("%+v", md.Status)
	}
	again := request("1.1.0", "b")
	if md := b.rounds(3); md.Status.Phase != v1alpha1.Pending || approvedReason(md) != "Used" || !strings.Contains(md.Status.Message, "lets no other") {
		t.Fatalf("%s, %+v", approvedReason(md), md.Status)
	}
	approveNow(again)
	if md := b.settle(); md.Status.Phase != v1alpha1.Deployed || md.Status.Stable != md.Status.Update {
		t.Errorf("%+v", md.Status)
	}
}

// TestKind checks that an environment of any name tells its hosts its kind, and that
// one without a kind is not deployed to.
func TestKind(t *testing.T) {
	for kind, want := range map[string]string{"staging": "--env staging", "": ""} {
		env := &v1alpha1.Environment{ObjectMeta: metav1.ObjectMeta{Name: "t1"}, Spec: v1alpha1.EnvironmentSpec{Namespace: ns, Kind: kind}}
		b := newBench(t, deployment(func(md *v1alpha1.ModelDeployment) { md.Spec.Environment = "t1" }), env)
		md := b.rounds(5)
		var ds appsv1.DeploymentList
		if err := b.List(t.Context(), &ds); err != nil {
			t.Fatal(err)
		}
		switch {
		case want == "" && (len(ds.Items) > 0 || !strings.Contains(md.Status.Message, "set spec.kind of the Environment")):
			t.Errorf("%d Deployments, %q", len(ds.Items), md.Status.Message)
		case want != "" && (len(ds.Items) != 1 || !strings.Contains(strings.Join(ds.Items[0].Spec.Template.Spec.Containers[0].Args, " "), want)):
			t.Errorf("%+v, %q", ds.Items, md.Status.Message)
		}
	}
}

// TestStuck checks that the conditions say why the controller cannot go on, and no
// longer once it can.
func TestStuck(t *testing.T) {
	b := newBench(t, deployment(nil))
	b.fail = func(_ string, o client.Object) error {
		if _, ok := o.(*appsv1.Deployment); ok {
			return errors.New("deployments is forbidden: no verb create")
		}
		return nil
	}
	for range 3 {
		if b.reconcile() == nil {
			t.Fatal("it goes on")
		}
	}
	var md v1alpha1.ModelDeployment
	b.get("cardio", &md)
	c := meta.FindStatusCondition(md.Status.Conditions, v1alpha1.ConditionStalled)
	if c == nil || c.Reason != controller.ReasonError || !strings.Contains(c.Message, "no verb create") || !strings.Contains(md.Status.Message, "no verb create") {
		t.Errorf("%+v, %q", c, md.Status.Message)
	}
	b.fail = nil
	if md := b.settle(); md.Status.Phase != v1alpha1.Deployed || meta.IsStatusConditionTrue(md.Status.Conditions, v1alpha1.ConditionStalled) {
		t.Errorf("%+v", md.Status)
	}
}
