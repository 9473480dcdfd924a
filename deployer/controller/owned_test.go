package controller_test

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/controller"
	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// kinds returns an object of each kind that the controller writes besides records,
// as somebody else might make it.
func kinds() map[string]client.Object {
	return map[string]client.Object{
		"Deployment": &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: new(int32)}}, "Service": &corev1.Service{}, "HTTPRoute": &gatewayv1.HTTPRoute{},
		"HorizontalPodAutoscaler": &autoscalingv2.HorizontalPodAutoscaler{}, "PodDisruptionBudget": &policyv1.PodDisruptionBudget{},
		"NetworkPolicy": &networkingv1.NetworkPolicy{},
	}
}

// whose has the ways in which somebody else's object may look like a deployment's.
var whose = map[string]func(client.Object){
	"nobody's": func(client.Object) {},
	"with the labels": func(o client.Object) {
		o.SetLabels(map[string]string{render.LabelDeployment: "cardio", render.ManagedBy: render.Manager})
	},
	"of an earlier deployment": func(o client.Object) {
		yes := true
		o.SetLabels(map[string]string{render.LabelDeployment: "cardio"})
		o.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion().String(), Kind: "ModelDeployment", Name: "cardio", UID: "0", Controller: &yes}})
	},
	"of something else": func(o client.Object) {
		yes := true
		o.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web", UID: "7", Controller: &yes}})
	},
}

// TestOthers checks that an object of any kind that has a name the deployment needs
// is not changed, that nothing else is made, that the condition names it, and that
// the rollout continues once it is deleted.
func TestOthers(t *testing.T) {
	autoscaled := func(md *v1alpha1.ModelDeployment) {
		md.Spec.Autoscaling = &v1alpha1.Autoscaling{MinReplicas: 2, MaxReplicas: 5}
	}
	hash, err := render.Hash(deployment(autoscaled).Spec.Template)
	if err != nil {
		t.Fatal(err)
	}
	for kind := range kinds() {
		for what, mark := range whose {
			t.Run(kind+" "+what, func(t *testing.T) {
				other := kinds()[kind]
				other.SetNamespace(ns)
				other.SetName("cardio")
				if kind == "Deployment" {
					other.SetName("cardio-" + hash)
				}
				other.SetAnnotations(map[string]string{"a": "b"})
				mark(other)
				b := newBench(t, deployment(autoscaled), other)
				before := kinds()[kind]
				b.get(other.GetName(), before)
				md := b.rounds(3)
				after := kinds()[kind]
				b.get(other.GetName(), after)
				if !equality.Semantic.DeepEqual(before, after) {
					t.Errorf("it was changed: %+v", after)
				}
				c := meta.FindStatusCondition(md.Status.Conditions, v1alpha1.ConditionStalled)
				if c == nil || c.Status != metav1.ConditionTrue || c.Reason != controller.ReasonNameTaken || !strings.Contains(c.Message, kind+" "+ns+"/"+other.GetName()) || !strings.Contains(c.Message, "delete it") {
					t.Errorf("%+v", c)
				}
				if n := b.ours(); n != 0 || md.Status.Phase != v1alpha1.Pending {
					t.Errorf("%d objects were made, and it is %s", n, md.Status.Phase)
				}
				if what != "nobody's" {
					return
				}
				if err := b.Delete(t.Context(), other); err != nil {
					t.Fatal(err)
				}
				if md = b.rounds(6); md.Status.Phase != v1alpha1.Deployed || !meta.IsStatusConditionTrue(md.Status.Conditions, v1alpha1.ConditionReady) {
					t.Errorf("after it has gone: %+v", md.Status)
				}
			})
		}
	}
}

// ours counts the objects that the deployment owns, without records.
func (b *bench) ours() int {
	b.t.Helper()
	n := 0
	for _, list := range []client.ObjectList{
		&appsv1.DeploymentList{}, &corev1.ServiceList{}, &gatewayv1.HTTPRouteList{}, &autoscalingv2.HorizontalPodAutoscalerList{},
		&policyv1.PodDisruptionBudgetList{}, &networkingv1.NetworkPolicyList{},
	} {
		if err := b.List(b.t.Context(), list); err != nil {
			b.t.Fatal(err)
		}
		all, err := meta.ExtractList(list)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, o := range all {
			if metav1.IsControlledBy(o.(client.Object), &metav1.ObjectMeta{UID: "1"}) {
				n++
			}
		}
	}
	return n
}

// TestOthersWhileServing checks that a name that is taken later does not stop what
// serves.
func TestOthersWhileServing(t *testing.T) {
	b := newBench(t, deployment(nil))
	md := b.settle()
	other := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: "cardio", Namespace: ns}}
	if err := b.Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	md.Spec.Autoscaling, md.Generation = &v1alpha1.Autoscaling{MinReplicas: 2, MaxReplicas: 5}, 2
	if err := b.Update(t.Context(), md); err != nil {
		t.Fatal(err)
	}
	md = b.settle()
	var d appsv1.Deployment
	b.get("cardio-"+md.Status.Stable, &d)
	if md.Status.Phase != v1alpha1.Deployed || *d.Spec.Replicas != 2 || !strings.Contains(md.Status.Message, "HorizontalPodAutoscaler "+ns+"/cardio is not of this") {
		t.Errorf("%+v", md.Status)
	}
	if meta.IsStatusConditionTrue(md.Status.Conditions, v1alpha1.ConditionReady) {
		t.Error("it is ready")
	}
	// A new revision does not begin.
	md.Spec.Template.Model.Version, md.Generation = "1.1.0", 3
	if err := b.Update(t.Context(), md); err != nil {
		t.Fatal(err)
	}
	if md = b.settle(); md.Status.Phase != v1alpha1.Pending || md.Status.Stable == md.Status.Update {
		t.Errorf("%+v", md.Status)
	}
}

// TestLostLabel checks that an object of the deployment's own that has lost the label by
// which the cache finds it gets it back, with an event, and that nothing else is made or
// called somebody else's.
func TestLostLabel(t *testing.T) {
	b := newBench(t, deployment(nil))
	md := b.settle()
	for kind, o := range map[string]client.Object{"Deployment": &appsv1.Deployment{}, "Service": &corev1.Service{}} {
		name := "cardio-" + md.Status.Stable
		b.get(name, o)
		labels := o.GetLabels()
		delete(labels, render.LabelDeployment)
		o.SetLabels(labels)
		if err := b.Update(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		_ = b.drained()
		before := b.ours()
		md = b.rounds(3)
		b.get(name, o)
		if got := o.GetLabels()[render.LabelDeployment]; got != "cardio" {
			t.Errorf("%s: the label is %q", kind, got)
		}
		if told := b.drained(); !strings.Contains(told, "Drift") || !strings.Contains(told, kind+" "+ns+"/"+name+" had lost its label") {
			t.Errorf("%s: %s", kind, told)
		}
		if md.Status.Phase != v1alpha1.Deployed || b.ours() != before || strings.Contains(md.Status.Message, "lost") {
			t.Errorf("%s: %d objects, before %d; %+v", kind, b.ours(), before, md.Status)
		}
	}
}

// TestRecordsOfOthers checks that a record with another owner is not used, and that
// its number is not given again.
func TestRecordsOfOthers(t *testing.T) {
	md := deployment(nil)
	hash, err := render.Hash(md.Spec.Template)
	if err != nil {
		t.Fatal(err)
	}
	other := &v1alpha1.ModelRevision{
		ObjectMeta: metav1.ObjectMeta{Name: "cardio-4", Namespace: ns, Labels: render.Labels(md, hash)},
		Spec:       v1alpha1.ModelRevisionSpec{Number: 4, Hash: hash, Template: v1alpha1.RevisionTemplate{Image: "evil:1"}},
	}
	b := newBench(t, md, other)
	got := b.settle()
	var d appsv1.Deployment
	b.get("cardio-"+hash, &d)
	if got.Status.Phase != v1alpha1.Deployed || got.Status.Number != 5 || d.Spec.Template.Spec.Containers[0].Image != "x:1" {
		t.Errorf("%+v, image %s", got.Status, d.Spec.Template.Spec.Containers[0].Image)
	}
}
