package controller_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestNothingIsMade checks that a refused ModelDeployment gets no object of any
// kind, and that its status says why.
func TestNothingIsMade(t *testing.T) {
	other := func(name, namespace string) *v1alpha1.Environment {
		return &v1alpha1.Environment{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.EnvironmentSpec{Namespace: namespace}}
	}
	for what, c := range map[string]struct {
		change func(*v1alpha1.ModelDeployment)
		reason string
	}{
		"kube-system":          {func(md *v1alpha1.ModelDeployment) { md.Namespace, md.Spec.Environment = "kube-system", "system" }, "SystemNamespace"},
		"kube-public":          {func(md *v1alpha1.ModelDeployment) { md.Namespace = "kube-public" }, "SystemNamespace"},
		"the controller's":     {func(md *v1alpha1.ModelDeployment) { md.Namespace, md.Spec.Environment = "pynomaly-system", "own" }, "SystemNamespace"},
		"another's namespace":  {func(md *v1alpha1.ModelDeployment) { md.Namespace = "default" }, "WrongNamespace"},
		"no environment":       {func(md *v1alpha1.ModelDeployment) { md.Spec.Environment = "qa" }, "NoEnvironment"},
		"two models in one":    {func(md *v1alpha1.ModelDeployment) { md.Spec.Template.Model.Version = "1.0.0-a,evil@6.6.6" }, "InvalidModel"},
		"an id with an at":     {func(md *v1alpha1.ModelDeployment) { md.Spec.Template.Model.ID = "cardio@1.0.0,x" }, "InvalidModel"},
		"build metadata":       {func(md *v1alpha1.ModelDeployment) { md.Spec.Template.Model.Version = "1.0.0+a" }, "InvalidModel"},
		"a digest and more":    {func(md *v1alpha1.ModelDeployment) { md.Spec.Template.Model.Digest = sha("a") + ",x@1.0.0" }, "InvalidModel"},
		"another model's name": {func(md *v1alpha1.ModelDeployment) { md.Spec.Template.Model.ID = "thyroid" }, "InvalidName"},
	} {
		t.Run(what, func(t *testing.T) {
			md := deployment(c.change)
			b := newBench(t, md, other("system", "kube-system"), other("own", "pynomaly-system"))
			b.fail = func(verb string, o client.Object) error {
				t.Errorf("%s %T", verb, o)
				return nil
			}
			for range 3 {
				if _, err := b.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(md)}); err != nil {
					t.Fatal(err)
				}
			}
			var got v1alpha1.ModelDeployment
			if err := b.Get(t.Context(), client.ObjectKeyFromObject(md), &got); err != nil {
				t.Fatal(err)
			}
			ready := meta.FindStatusCondition(got.Status.Conditions, v1alpha1.ConditionReady)
			if ready == nil || ready.Status != metav1.ConditionFalse || ready.Reason != c.reason || got.Status.Message == "" {
				t.Errorf("%+v", got.Status)
			}
		})
	}
}

// TestBlockedHasNoObjects checks that a deployment that waits for an approval has
// only a record, and a number.
func TestBlockedHasNoObjects(t *testing.T) {
	b := newBench(t, requested(nil), guarded(nil))
	var made []string
	b.fail = func(verb string, o client.Object) error {
		if verb == "create" {
			made = append(made, fmt.Sprintf("%T", o))
		}
		return nil
	}
	b.rounds(3)
	if len(made) != 2 || made[0] != "*v1.ConfigMap" || made[1] != "*v1alpha1.ModelRevision" {
		t.Errorf("%v", made)
	}
}

// TestRevisionTaken checks that a template with the short name of another revision's
// record is refused.
func TestRevisionTaken(t *testing.T) {
	md := deployment(nil)
	hash, err := render.Hash(md.Spec.Template)
	if err != nil {
		t.Fatal(err)
	}
	other := *md.Spec.Template.DeepCopy()
	other.Image = "y:1"
	b := newBench(t, md, &v1alpha1.ModelRevision{
		ObjectMeta: metav1.ObjectMeta{Name: "cardio-1", Namespace: ns, Labels: render.Labels(md, hash), OwnerReferences: []metav1.OwnerReference{
			*metav1.NewControllerRef(md, v1alpha1.GroupVersion().WithKind("ModelDeployment")),
		}},
		Spec:   v1alpha1.ModelRevisionSpec{DeploymentID: "cardio-development-1", Number: 1, Hash: hash, Template: other},
		Status: v1alpha1.ModelRevisionStatus{Phase: v1alpha1.Superseded, DeployedAt: &metav1.Time{Time: time.Unix(1, 0)}},
	})
	if got := b.rounds(2); b.deployments() != 0 || !strings.Contains(got.Status.Message, "set another template.attempt") {
		t.Errorf("%d Deployments: %q", b.deployments(), got.Status.Message)
	}
}
