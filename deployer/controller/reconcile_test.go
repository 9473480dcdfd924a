package controller_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/deployer/controller"
	"github.com/pynomaly/pynomaly-runtime/deployer/gatewaymetrics"
	"github.com/pynomaly/pynomaly-runtime/deployer/hostkeys"
	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// silent has hosts that count nothing.
type silent struct{ waits string }

var errSilent = errors.New("silent")

func (silent) Stats(context.Context, controller.Host, string, string) (*api.Stats, error) {
	return nil, errSilent
}
func (silent) Digest(context.Context, controller.Host, string, string) (string, error) {
	return "", errSilent
}
func (s silent) Waits(context.Context, controller.Host) (string, error) { return s.waits, nil }
func (silent) Samples(context.Context, controller.Host, string, string, uint64, int) (*api.Samples, error) {
	return nil, errSilent
}
func (silent) Replay(context.Context, controller.Host, string, string, []api.Sample) (*api.Replayed, error) {
	return nil, errSilent
}

// bench is a reconciler on objects in memory, with a function that plays the
// cluster's part. ../../e2e tests the same on a real cluster.
type bench struct {
	t *testing.T
	*controller.Reconciler
	now     time.Time
	events  *record.FakeRecorder
	fail    func(verb string, o client.Object) error
	unready string // a Deployment whose pods do not get ready
	// removed is called after an object was deleted.
	removed func(o client.Object)
}

const ns = "pynomaly-development"

func newBench(t *testing.T, objects ...client.Object) *bench {
	t.Helper()
	scheme, err := controller.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), events: record.NewFakeRecorder(1000)}
	hooked := func(verb string, o client.Object, do func() error) error {
		if b.fail != nil {
			if err := b.fail(verb, o); err != nil {
				return err
			}
		}
		return do()
	}
	if !slices.ContainsFunc(objects, func(o client.Object) bool { return o.GetName() == render.ControllerKeys }) {
		objects = append(objects, keysSecret())
	}
	objects = append(objects, &v1alpha1.Environment{ObjectMeta: metav1.ObjectMeta{Name: "development"}, Spec: v1alpha1.EnvironmentSpec{Namespace: ns, Replicas: 2}})
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithReturnManagedFields().
		WithStatusSubresource(&v1alpha1.ModelDeployment{}, &v1alpha1.ModelRevision{}, &gatewayv1.HTTPRoute{}, &appsv1.Deployment{}).
		WithInterceptorFuncs(interceptor.Funcs{
			Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
				return hooked("create", o, func() error { return c.Create(ctx, o, opts...) })
			},
			Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
				return hooked("update", o, func() error { return c.Update(ctx, o, opts...) })
			},
			Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
				err := c.Delete(ctx, o, opts...)
				switch o.(type) {
				case *corev1.Pod, *discoveryv1.EndpointSlice:
				default:
					if b.removed != nil && err == nil {
						b.removed(o)
					}
				}
				return err
			},
			Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
				return hooked("patch", o, func() error { return c.Patch(ctx, o, p, opts...) })
			},
			Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
				return hooked("apply", o.(client.Object), func() error { return c.Apply(ctx, o, opts...) })
			},
		}).Build()
	log := slog.New(slog.DiscardHandler)
	b.Reconciler = &controller.Reconciler{
		Client: c, Events: b.events, Figures: silent{}, Comparisons: controller.NewComparisons(), Live: c, Namespace: "pynomaly-system",
		Namespaces: []string{ns}, Now: func() time.Time { return b.now }, Log: log, Audit: log,
		Gateway: gatewaymetrics.Reader{Timeout: 10 * time.Minute},
	}
	b.Keys = &hostkeys.Own{Reader: c, Namespace: b.Namespace, Now: b.Now}
	return b
}

func deployment(change func(*v1alpha1.ModelDeployment)) *v1alpha1.ModelDeployment {
	md := &v1alpha1.ModelDeployment{
		ObjectMeta: metav1.ObjectMeta{Name: "cardio", Namespace: ns, UID: "1", Generation: 1},
		Spec: v1alpha1.ModelDeploymentSpec{
			Environment: "development", Replicas: 2, Strategy: v1alpha1.Strategy{Type: v1alpha1.Direct},
			Traffic:  v1alpha1.Traffic{Gateway: &v1alpha1.GatewayReference{Name: "web", Namespace: "gateway"}},
			Template: v1alpha1.RevisionTemplate{Model: v1alpha1.ModelReference{ID: "cardio", Version: "1.0.0"}, Image: "x:1"},
		},
	}
	if change != nil {
		change(md)
	}
	return md
}

func (b *bench) reconcile() error {
	b.t.Helper()
	_, err := b.Reconcile(b.t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: ns, Name: "cardio"}})
	return err
}

// hashOf returns the name of the revision that a deployment asks for.
func hashOf(t *testing.T, md *v1alpha1.ModelDeployment) string {
	t.Helper()
	hash, err := render.Hash(md.Spec.Template)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// settle reconciles, makes pods ready and acknowledges routes until nothing changes.
func (b *bench) settle() *v1alpha1.ModelDeployment {
	b.t.Helper()
	return b.rounds(20)
}

// rounds does n rounds of settle.
func (b *bench) rounds(n int) *v1alpha1.ModelDeployment {
	b.t.Helper()
	for range n {
		if err := b.reconcile(); err != nil {
			b.t.Fatal(err)
		}
		b.cluster()
		b.now = b.now.Add(5 * time.Second)
	}
	var md v1alpha1.ModelDeployment
	b.get("cardio", &md)
	return &md
}

func (b *bench) get(name string, o client.Object) {
	b.t.Helper()
	if err := b.Get(b.t.Context(), client.ObjectKey{Namespace: ns, Name: name}, o); err != nil {
		b.t.Fatal(err)
	}
}

// cluster does what Kubernetes and a gateway do.
func (b *bench) cluster() {
	b.t.Helper()
	ctx := b.t.Context()
	var ds appsv1.DeploymentList
	var pods corev1.PodList
	if err := errors.Join(b.List(ctx, &ds), b.List(ctx, &pods)); err != nil {
		b.t.Fatal(err)
	}
	for i := range pods.Items {
		if err := b.Delete(ctx, &pods.Items[i]); err != nil {
			b.t.Fatal(err)
		}
	}
	must := func(err error) {
		if client.IgnoreAlreadyExists(client.IgnoreNotFound(err)) != nil {
			b.t.Fatal(err)
		}
	}
	must(b.DeleteAllOf(ctx, &discoveryv1.EndpointSlice{}, client.InNamespace(ns)))
	yes := true
	for _, d := range ds.Items {
		e := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: d.Name, Namespace: ns, Labels: map[string]string{
			discoveryv1.LabelServiceName: d.Name, render.LabelDeployment: "cardio", render.LabelRevision: d.Labels[render.LabelRevision],
		}}}
		for n := range *d.Spec.Replicas {
			status := corev1.ConditionTrue
			if d.Name == b.unready {
				status = corev1.ConditionFalse
			}
			p := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: d.Name + "-" + string('a'+n), Namespace: ns, Labels: d.Spec.Template.Labels},
				Status:     corev1.PodStatus{PodIP: "192.0.2.1", Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: status, LastTransitionTime: metav1.NewTime(b.now)}}},
			}
			must(b.Create(ctx, p))
			e.Endpoints = append(e.Endpoints, discoveryv1.Endpoint{TargetRef: &corev1.ObjectReference{Name: p.Name}, Conditions: discoveryv1.EndpointConditions{Ready: &yes}})
		}
		must(b.Create(ctx, e))
	}
	var route gatewayv1.HTTPRoute
	if err := b.Get(ctx, client.ObjectKey{Namespace: ns, Name: "cardio"}, &route); err == nil && len(route.Spec.Rules) > 0 {
		var conditions []metav1.Condition
		for _, kind := range []gatewayv1.RouteConditionType{gatewayv1.RouteConditionAccepted, gatewayv1.RouteConditionResolvedRefs} {
			conditions = append(conditions, metav1.Condition{Type: string(kind), Status: "True", ObservedGeneration: route.Generation, Reason: "x", LastTransitionTime: metav1.NewTime(b.now)})
		}
		route.Status.Parents = []gatewayv1.RouteParentStatus{{ParentRef: gatewayv1.ParentReference{Name: "web"}, Conditions: conditions}}
		must(b.Status().Update(ctx, &route))
	}
}

// TestReconcile follows a deployment and a change of it, until everything serves.
func TestReconcile(t *testing.T) {
	b := newBench(t, deployment(func(md *v1alpha1.ModelDeployment) {
		md.Spec.Autoscaling = &v1alpha1.Autoscaling{MinReplicas: 2, MaxReplicas: 5}
	}))
	md := b.settle()
	if md.Status.Phase != v1alpha1.Deployed || md.Status.Stable == "" || md.Status.ObservedGeneration != 1 {
		t.Fatalf("%+v", md.Status)
	}
	first := md.Status.Stable
	for name, o := range map[string]client.Object{
		"cardio-" + first: &appsv1.Deployment{}, "cardio": &gatewayv1.HTTPRoute{}, "cardio-1": &v1alpha1.ModelRevision{},
	} {
		b.get(name, o)
		if len(o.GetOwnerReferences()) != 1 || o.GetOwnerReferences()[0].UID != "1" {
			t.Errorf("%s is not owned: %v", name, o.GetOwnerReferences())
		}
	}
	for _, o := range []client.Object{&corev1.Service{}, &policyv1.PodDisruptionBudget{}, &networkingv1.NetworkPolicy{}, &autoscalingv2.HorizontalPodAutoscaler{}} {
		b.get("cardio", o)
	}
	md.Spec.Template.Model.Version, md.Spec.Autoscaling, md.Generation = "1.1.0", nil, 2
	if err := b.Update(t.Context(), md); err != nil {
		t.Fatal(err)
	}
	if err := b.reconcile(); err != nil {
		t.Fatal(err)
	}
	var preview corev1.Service
	if b.get("cardio-preview", &preview); preview.Spec.Selector[render.LabelRevision] == first || preview.Spec.Selector[render.LabelRevision] == "" {
		t.Errorf("the preview selects %v", preview.Spec.Selector)
	}
	md = b.settle()
	if err := b.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "cardio-preview"}, &preview); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("the preview is there yet: %v", err)
	}
	var ds appsv1.DeploymentList
	if err := b.List(t.Context(), &ds); err != nil || len(ds.Items) != 1 || md.Status.Stable == first || md.Status.Number != 2 {
		t.Errorf("%d Deployments, %+v, %v", len(ds.Items), md.Status, err)
	}
	if err := b.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "cardio"}, &autoscalingv2.HorizontalPodAutoscaler{}); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("the autoscaler is there yet: %v", err)
	}
	var old v1alpha1.ModelRevision
	if b.get("cardio-1", &old); old.Status.Phase != v1alpha1.Superseded || old.Status.DeployedAt == nil || old.Status.FinishedAt == nil {
		t.Errorf("%+v", old.Status)
	}
}

// TestRepeats checks that the end is the same whichever write fails, and however
// often.
func TestRepeats(t *testing.T) {
	b := newBench(t, deployment(nil))
	writes, every := 0, 3
	b.fail = func(verb string, o client.Object) error {
		switch o.(type) {
		case *corev1.Pod, *discoveryv1.EndpointSlice:
			return nil
		}
		if writes++; writes%every != 0 {
			return errSilent
		}
		return nil
	}
	var md v1alpha1.ModelDeployment
	for range 100 {
		if err := b.reconcile(); err != nil && !errors.Is(err, errSilent) {
			t.Fatal(err)
		}
		b.cluster()
		b.now = b.now.Add(5 * time.Second)
	}
	b.get("cardio", &md)
	var revisions v1alpha1.ModelRevisionList
	if err := b.List(t.Context(), &revisions); err != nil || len(revisions.Items) != 1 || md.Status.Phase != v1alpha1.Deployed {
		t.Errorf("%d revisions, %+v, %v", len(revisions.Items), md.Status, err)
	}
}

// TestRefused checks that what cannot be done is reported, and that nothing is made.
func TestRefused(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*v1alpha1.ModelDeployment)
		says   string
	}{
		"another name":        {func(md *v1alpha1.ModelDeployment) { md.Spec.Template.Model.ID = "thyroid" }, "must be named \"thyroid\""},
		"no such environment": {func(md *v1alpha1.ModelDeployment) { md.Spec.Environment = "qa" }, "there is no Environment \"qa\""},
		"another's namespace": {func(md *v1alpha1.ModelDeployment) { md.Spec.Environment = "elsewhere" }, "belong in namespace"},
		"a Secret of others": {func(md *v1alpha1.ModelDeployment) {
			md.Spec.Template.Source = v1alpha1.Source{Type: "oci", Reference: "r/x:1", PullSecret: "others"}
		}, "may not use the Secret others"},
		"production without one": {func(md *v1alpha1.ModelDeployment) { md.Spec.Environment = "strict" }, "deploy promote"},
	} {
		t.Run(what, func(t *testing.T) {
			b := newBench(t, deployment(c.change),
				&v1alpha1.Environment{ObjectMeta: metav1.ObjectMeta{Name: "elsewhere"}, Spec: v1alpha1.EnvironmentSpec{Namespace: "other"}},
				&v1alpha1.Environment{ObjectMeta: metav1.ObjectMeta{Name: "strict"}, Spec: v1alpha1.EnvironmentSpec{Namespace: ns, Kind: "production", PromotesFrom: "development"}})
			md := b.settle()
			var ds appsv1.DeploymentList
			if err := b.List(t.Context(), &ds); err != nil || len(ds.Items) != 0 || !strings.Contains(md.Status.Message, c.says) {
				t.Errorf("%d Deployments, %q, %v", len(ds.Items), md.Status.Message, err)
			}
		})
	}
}

// TestExplained checks that the status has the reason that a host gives.
func TestExplained(t *testing.T) {
	b := newBench(t, deployment(nil))
	b.Figures = silent{waits: "cardio@1.0.0 was not loaded: it is damaged"}
	if err := b.reconcile(); err != nil {
		t.Fatal(err)
	}
	b.cluster()
	var pods corev1.PodList
	if err := b.List(t.Context(), &pods); err != nil || len(pods.Items) == 0 {
		t.Fatal(err)
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		p.Status.Conditions[0].Status = corev1.ConditionFalse
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(b.now.Add(-time.Minute))}}}}
		if err := b.Status().Update(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	b.now = b.now.Add(time.Second)
	if err := b.reconcile(); err != nil {
		t.Fatal(err)
	}
	var md v1alpha1.ModelDeployment
	if b.get("cardio", &md); !strings.Contains(md.Status.Message, "it is damaged") {
		t.Errorf("%q", md.Status.Message)
	}
}
