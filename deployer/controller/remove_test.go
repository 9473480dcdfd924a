package controller_test

import (
	"fmt"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// dangling returns the Services and Deployments that a route names and that do not exist.
func (b *bench) dangling() []string {
	b.t.Helper()
	var routes gatewayv1.HTTPRouteList
	if err := b.List(b.t.Context(), &routes); err != nil {
		b.t.Fatal(err)
	}
	var out []string
	for _, route := range routes.Items {
		for _, rule := range route.Spec.Rules {
			for _, ref := range rule.BackendRefs {
				key := client.ObjectKey{Namespace: ns, Name: string(ref.Name)}
				if b.Get(b.t.Context(), key, &corev1.Service{}) != nil {
					out = append(out, fmt.Sprintf("%s: Service %s", route.Name, ref.Name))
				}
				if route.Name == "cardio" && b.Get(b.t.Context(), key, &appsv1.Deployment{}) != nil {
					out = append(out, fmt.Sprintf("%s: Deployment %s", route.Name, ref.Name))
				}
			}
		}
	}
	return out
}

// TestGatewayTakenOut checks that the route goes when the Gateway is taken out of a
// deployment, at rest, in a rollout, and together with a new version, and that at no write
// it names a Service or pods that are not there.
func TestGatewayTakenOut(t *testing.T) {
	for name, c := range map[string]struct {
		during bool
		change func(*v1alpha1.ModelDeployment)
	}{
		"at rest":            {},
		"with a new version": {change: func(md *v1alpha1.ModelDeployment) { md.Spec.Template.Model.Version = "1.1.0" }},
		"in a rollout":       {during: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, deployment(func(md *v1alpha1.ModelDeployment) {
				md.Spec.Traffic.Gateway.Namespace = "web"
				md.Spec.Strategy = v1alpha1.Strategy{Type: v1alpha1.Canary, Steps: []v1alpha1.Step{{Weight: 50, Hold: &metav1.Duration{}}}, Gates: &v1alpha1.Gates{Disabled: true}}
			}))
			md := b.settle()
			var order []string
			b.removed = func(o client.Object) {
				order = append(order, fmt.Sprintf("%T", o))
				if d := b.dangling(); len(d) > 0 {
					t.Errorf("after %T %s was removed: %q", o, o.GetName(), d)
				}
			}
			update := func(change func()) {
				change()
				md.Generation++
				if err := b.Update(t.Context(), md); err != nil {
					t.Fatal(err)
				}
			}
			if c.during {
				update(func() { md.Spec.Template.Model.Version = "1.1.0" })
				md = b.rounds(2)
				if md.Status.Stable == md.Status.Update {
					t.Fatalf("%+v", md.Status)
				}
			}
			update(func() {
				md.Spec.Traffic.Gateway = nil
				if c.change != nil {
					c.change(md)
				}
			})
			md = b.settle()
			if err := b.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "cardio"}, &gatewayv1.HTTPRoute{}); client.IgnoreNotFound(err) != nil || err == nil {
				t.Errorf("the route is there yet: %v", err)
			}
			if i := slices.Index(order, "*v1.HTTPRoute"); i != 0 && !c.during || md.Status.Phase != v1alpha1.Deployed {
				t.Errorf("%v, %+v", order, md.Status)
			}
		})
	}
}

// TestNamedByOthers checks that a Service stays for as long as a route of somebody else
// names it, and goes afterwards.
func TestNamedByOthers(t *testing.T) {
	b := newBench(t, deployment(nil))
	md := b.settle()
	old := "cardio-" + md.Status.Stable
	route := &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Name: "own", Namespace: ns}}
	route.Spec.Rules = []gatewayv1.HTTPRouteRule{{BackendRefs: []gatewayv1.HTTPBackendRef{{BackendRef: gatewayv1.BackendRef{BackendObjectReference: gatewayv1.BackendObjectReference{Name: gatewayv1.ObjectName(old)}}}}}}
	if err := b.Create(t.Context(), route); err != nil {
		t.Fatal(err)
	}
	md.Spec.Template.Model.Version, md.Generation = "1.1.0", 2
	if err := b.Update(t.Context(), md); err != nil {
		t.Fatal(err)
	}
	if b.settle(); len(b.dangling()) > 0 {
		t.Errorf("%q", b.dangling())
	}
	if err := b.Delete(t.Context(), route); err != nil {
		t.Fatal(err)
	}
	b.rounds(2)
	if err := b.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: old}, &corev1.Service{}); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("it is there yet: %v", err)
	}
}

// TestNumbers checks that the numbers of a deployment that was deleted are not used again,
// and that a number is used for one revision.
func TestNumbers(t *testing.T) {
	b := newBench(t, deployment(nil))
	md := b.settle()
	md.Spec.Template.Model.Version, md.Generation = "1.1.0", 2
	if err := b.Update(t.Context(), md); err != nil {
		t.Fatal(err)
	}
	if md = b.settle(); md.Status.Number != 2 {
		t.Fatalf("%+v", md.Status)
	}
	if err := b.Delete(t.Context(), md); err != nil {
		t.Fatal(err)
	}
	for _, o := range []client.Object{&v1alpha1.ModelRevision{}, &appsv1.Deployment{}, &gatewayv1.HTTPRoute{}} { // Kubernetes deletes what it owned
		if err := b.DeleteAllOf(t.Context(), o, client.InNamespace(ns)); err != nil {
			t.Fatal(err)
		}
	}
	for name := range map[string]bool{"cardio": true, "cardio-" + md.Status.Stable: true} {
		if err := b.Delete(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns}}); err != nil {
			t.Fatal(err)
		}
	}
	for o := range kinds() {
		if o == "PodDisruptionBudget" || o == "NetworkPolicy" {
			one := kinds()[o]
			one.SetName("cardio")
			one.SetNamespace(ns)
			if err := b.Delete(t.Context(), one); err != nil {
				t.Fatal(err)
			}
		}
	}
	again := deployment(func(md *v1alpha1.ModelDeployment) { md.UID = "2" })
	if err := b.Create(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	if md = b.settle(); md.Status.Number != 3 || md.Status.Phase != v1alpha1.Deployed {
		t.Errorf("%+v", md.Status)
	}
}
