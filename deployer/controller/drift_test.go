package controller_test

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/controller"
	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// edit changes an object as a user's tool does.
func (b *bench) edit(o client.Object, manager string, change func()) {
	b.t.Helper()
	b.get(o.GetName(), o)
	change()
	if err := b.Update(b.t.Context(), o, client.FieldOwner(manager)); err != nil {
		b.t.Fatal(err)
	}
}

// drained returns the events that were not read yet.
func (b *bench) drained() string {
	var out []string
	for {
		select {
		case e := <-b.events.Events:
			out = append(out, e)
		default:
			return strings.Join(out, "\n")
		}
	}
}

func serving(b *bench, md *v1alpha1.ModelDeployment) *appsv1.Deployment {
	d := &appsv1.Deployment{}
	b.get("cardio-"+md.Status.Stable, d)
	return d
}

// TestDrift checks that changes by hand are put back, that an event and a condition say
// what was changed and by whom, and that what others may change stays.
func TestDrift(t *testing.T) {
	type objects struct {
		d     *appsv1.Deployment
		s     *corev1.Service
		route *gatewayv1.HTTPRoute
	}
	for name, c := range map[string]struct {
		change func(o objects)
		says   string // "": it stays
	}{
		"image": {func(o objects) { o.d.Spec.Template.Spec.Containers[0].Image = "evil:1" }, `image is "evil:1", and should be "x:1" (by kubectl-edit`},
		"arguments": {func(o objects) {
			c := &o.d.Spec.Template.Spec.Containers[0]
			c.Args = append(c.Args, "--insecure=true")
		}, "].args is "},
		"command":  {func(o objects) { o.d.Spec.Template.Spec.Containers[0].Command = []string{"sh"} }, "command was added (by kubectl-edit"},
		"variable": {func(o objects) { o.d.Spec.Template.Spec.Containers[0].Env[0].Value = "9" }, `value is "9", and should be "2"`},
		"new variable": {func(o objects) {
			c := &o.d.Spec.Template.Spec.Containers[0]
			c.Env = append(c.Env, corev1.EnvVar{Name: "X", Value: "1"})
		}, `env[name="X"] was added`},
		"no variable": {func(o objects) { o.d.Spec.Template.Spec.Containers[0].Env = nil }, "somebody removed it"},
		"sidecar": {func(o objects) {
			o.d.Spec.Template.Spec.Containers = append(o.d.Spec.Template.Spec.Containers, corev1.Container{Name: "spy", Image: "y"})
		}, `containers[name="spy"] was added`},
		"host network":   {func(o objects) { o.d.Spec.Template.Spec.HostNetwork = true }, "hostNetwork was added"},
		"label":          {func(o objects) { o.d.Labels[render.LabelHost] = "other" }, `is "other", and should be`},
		"pods' label":    {func(o objects) { o.d.Spec.Template.Labels[render.LabelHost] = "other" }, `is "other", and should be`},
		"replicas":       {func(o objects) { n := int32(7); o.d.Spec.Replicas = &n }, "replicas is 7, and should be 2"},
		"paused":         {func(o objects) { o.d.Spec.Paused = true }, "paused was added"},
		"selector":       {func(o objects) { o.s.Spec.Selector["x"] = "y" }, "selector.x"},
		"weights":        {func(o objects) { n := int32(3); o.route.Spec.Rules[0].BackendRefs[0].Weight = &n }, "rules is "},
		"host name":      {func(o objects) { o.route.Spec.Hostnames = []gatewayv1.Hostname{"example.com"} }, "hostnames"},
		"annotation":     {func(o objects) { o.d.Annotations["x"], o.s.Annotations["x"] = "y", "y" }, ""},
		"restart":        {func(o objects) { o.d.Spec.Template.Annotations["kubectl.kubernetes.io/restartedAt"] = "now" }, ""},
		"label of other": {func(o objects) { o.d.Spec.Template.Labels["team"] = "a" }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, deployment(func(md *v1alpha1.ModelDeployment) { md.Spec.Template.Config = map[string]string{"WORKERS": "2"} }))
			md := b.settle()
			o := objects{serving(b, md), &corev1.Service{}, &gatewayv1.HTTPRoute{}}
			b.get("cardio", o.s)
			b.get("cardio", o.route)
			was := objects{o.d.DeepCopy(), o.s.DeepCopy(), o.route.DeepCopy()}
			b.drained()
			c.change(o)
			for _, one := range []client.Object{o.d, o.s, o.route} {
				if err := b.Update(t.Context(), one, client.FieldOwner("kubectl-edit")); err != nil {
					t.Fatal(err)
				}
			}
			changed := objects{o.d.DeepCopy(), o.s.DeepCopy(), o.route.DeepCopy()}
			md = b.rounds(3)
			events, drifted := b.drained(), meta.FindStatusCondition(md.Status.Conditions, v1alpha1.ConditionDrifted)
			now := objects{serving(b, md), o.s, o.route}
			b.get("cardio", now.s)
			b.get("cardio", now.route)
			want := was
			if c.says == "" {
				want = changed
				if drifted != nil || strings.Contains(events, "Drift") {
					t.Errorf("%+v, %s", drifted, events)
				}
			} else if drifted == nil || drifted.Status != metav1.ConditionFalse || drifted.Reason != controller.ReasonPutBack || !strings.Contains(drifted.Message, c.says) || !strings.Contains(events, c.says) {
				t.Errorf("there is no %q in %+v, nor in %s", c.says, drifted, events)
			}
			if !equality.Semantic.DeepEqual(now.d.Spec, want.d.Spec) || !equality.Semantic.DeepEqual(now.d.Annotations, want.d.Annotations) || !equality.Semantic.DeepEqual(now.d.Labels, want.d.Labels) {
				t.Errorf("the Deployment is\n%+v, and should be\n%+v", now.d, want.d)
			}
			if !equality.Semantic.DeepEqual(now.s.Spec, want.s.Spec) || !equality.Semantic.DeepEqual(now.route.Spec, want.route.Spec) {
				t.Errorf("%+v, %+v", now.s.Spec, now.route.Spec)
			}
			if writes := b.writes(func() { b.rounds(3) }); writes != 0 {
				t.Errorf("%d writes at rest", writes)
			}
		})
	}
}

// writes counts the controller's writes while do runs.
func (b *bench) writes(do func()) int {
	b.t.Helper()
	n := 0
	b.fail = func(verb string, o client.Object) error {
		switch o.(type) {
		case *corev1.Pod:
			return nil
		}
		if !strings.HasSuffix(o.GetObjectKind().GroupVersionKind().Kind, "EndpointSlice") && verb != "create" || verb == "apply" {
			n++
		}
		return nil
	}
	defer func() { b.fail = nil }()
	do()
	return n
}

// TestFought checks that a change of pods that comes again and again is put back more and
// more rarely, and that the condition says so.
func TestFought(t *testing.T) {
	b := newBench(t, deployment(nil))
	md := b.settle()
	back := 0
	for range 60 {
		d := serving(b, md)
		if d.Spec.Template.Spec.Containers[0].Image == "x:1" {
			back++
			b.edit(d, "gitops", func() { d.Spec.Template.Spec.Containers[0].Image = "y:1" })
		}
		md = b.rounds(1) // 5 s
	}
	if back < 3 || back > 8 {
		t.Errorf("it was put back %d times in 5 minutes", back)
	}
	c := meta.FindStatusCondition(md.Status.Conditions, v1alpha1.ConditionDrifted)
	if c == nil || c.Status != metav1.ConditionTrue || c.Reason != controller.ReasonFought || !strings.Contains(c.Message, "gitops") {
		t.Errorf("%+v", c)
	}
	b.now = b.now.Add(10 * time.Minute)
	md = b.rounds(2)
	if c := meta.FindStatusCondition(md.Status.Conditions, v1alpha1.ConditionDrifted); c == nil || c.Status != metav1.ConditionFalse {
		t.Errorf("%+v", c)
	}
}

// TestWebhook checks that what an admission webhook makes of an object is neither fought
// nor reported, by this controller and by the next one, which writes it once.
func TestWebhook(t *testing.T) {
	b := newBench(t, deployment(func(md *v1alpha1.ModelDeployment) { md.Spec.Template.Config = map[string]string{"WORKERS": "2"} }))
	applied := 0
	webhook := func(verb string, o client.Object) error { // it changes the image, and removes the variables
		switch d := o.(type) {
		case *appsv1.Deployment:
			if len(d.Spec.Template.Spec.Containers) > 0 {
				d.Spec.Template.Spec.Containers[0].Image, d.Spec.Template.Spec.Containers[0].Env = "mirror.example.com/x:1", nil
			}
		default:
			u, ok := o.(interface{ UnstructuredContent() map[string]any })
			if !ok || verb != "apply" || o.GetObjectKind().GroupVersionKind().Kind != "Deployment" {
				return nil
			}
			applied++
			list, _, err := unstructured.NestedSlice(u.UnstructuredContent(), "spec", "template", "spec", "containers")
			if err != nil || len(list) == 0 {
				t.Error(err)
				return nil
			}
			c := list[0].(map[string]any)
			c["image"] = "mirror.example.com/x:1"
			delete(c, "env")
			if err := unstructured.SetNestedSlice(u.UnstructuredContent(), list, "spec", "template", "spec", "containers"); err != nil {
				t.Error(err)
			}
		}
		return nil
	}
	b.fail = webhook
	md := b.settle()
	if c := serving(b, md).Spec.Template.Spec.Containers[0]; c.Image != "mirror.example.com/x:1" || len(c.Env) != 0 || applied != 0 {
		t.Fatalf("%+v, %d", c, applied)
	}
	b.Reconciler = &controller.Reconciler{
		Client: b.Client, Events: b.events, Figures: silent{}, Comparisons: controller.NewComparisons(), Live: b.Live, Keys: b.Keys, Namespace: b.Namespace,
		Namespaces: b.Namespaces, Now: b.Now, Log: b.Log, Audit: b.Audit,
	}
	md = b.rounds(5)
	if c := meta.FindStatusCondition(md.Status.Conditions, v1alpha1.ConditionDrifted); applied != 1 || c != nil || strings.Contains(b.drained(), "Drift") {
		t.Errorf("%d writes, %+v", applied, c)
	}
}

// TestEarlierVersion checks that objects that an earlier version wrote with another field
// manager are taken over without a change, and that a later change leaves nothing of them.
func TestEarlierVersion(t *testing.T) {
	b := newBench(t, deployment(func(md *v1alpha1.ModelDeployment) {
		md.Spec.Traffic.Hostnames = []string{"a.example.com"}
		md.Spec.Template.Config = map[string]string{"WORKERS": "2"}
	}))
	md := b.settle()
	// The record of an earlier version says nothing of the pods.
	var rev v1alpha1.ModelRevision
	b.get("cardio-1", &rev)
	rev.Status.Pods = ""
	if err := b.Status().Update(t.Context(), &rev); err != nil {
		t.Fatal(err)
	}
	d, route := serving(b, md), &gatewayv1.HTTPRoute{}
	b.get("cardio", route)
	for _, o := range []client.Object{d, route} {
		managed := o.GetManagedFields()
		for i := range managed {
			managed[i].Manager, managed[i].Operation = render.Manager, metav1.ManagedFieldsOperationUpdate
		}
		if err := b.Update(t.Context(), o, client.FieldOwner(render.Manager)); err != nil {
			t.Fatal(err)
		}
	}
	// The earlier version had other arguments, and somebody had changed the image.
	b.edit(d, render.Manager, func() { d.Spec.Template.Spec.Containers[0].Args = []string{"serve", "--old"} })
	b.edit(d, "kubectl-edit", func() { d.Spec.Template.Spec.Containers[0].Image = "evil:1" })
	md = b.rounds(3)
	if c := serving(b, md).Spec.Template.Spec.Containers[0]; c.Image != "x:1" || len(c.Args) != 2 || len(c.Env) != 1 {
		t.Errorf("%+v", c)
	}
	md.Spec.Traffic.Hostnames, md.Generation = nil, 2
	if err := b.Update(t.Context(), md); err != nil {
		t.Fatal(err)
	}
	b.rounds(3)
	if b.get("cardio", route); len(route.Spec.Hostnames) != 0 || len(route.Spec.Rules[0].BackendRefs) != 1 {
		t.Errorf("%+v", route.Spec)
	}
	for _, o := range []client.Object{serving(b, md), route} {
		for _, m := range o.GetManagedFields() {
			if m.Manager == render.Manager {
				t.Errorf("%T: %s has fields yet", o, m.Manager)
			}
		}
	}
}

// TestAutoscaledReplicas checks that replicas stay with the autoscaler, also when something
// else is put back, and that nothing is scaled before an autoscaler that is no longer
// wanted has gone.
func TestAutoscaledReplicas(t *testing.T) {
	b := newBench(t, deployment(func(md *v1alpha1.ModelDeployment) {
		md.Spec.Autoscaling = &v1alpha1.Autoscaling{MinReplicas: 2, MaxReplicas: 5}
	}))
	md := b.settle()
	d := serving(b, md)
	b.edit(d, "kube-controller-manager", func() { n := int32(4); d.Spec.Replicas = &n })
	b.edit(d, "kubectl-edit", func() { d.Spec.Template.Spec.Containers[0].Image = "evil:1" })
	md = b.rounds(2)
	if d := serving(b, md); *d.Spec.Replicas != 4 || d.Spec.Template.Spec.Containers[0].Image != "x:1" {
		t.Errorf("%d replicas of %s", *d.Spec.Replicas, d.Spec.Template.Spec.Containers[0].Image)
	}
	md.Spec.Autoscaling, md.Generation = nil, 2
	if err := b.Update(t.Context(), md); err != nil {
		t.Fatal(err)
	}
	b.fail = func(verb string, o client.Object) error {
		if verb == "apply" && o.GetObjectKind().GroupVersionKind().Kind == "Deployment" {
			hpas := b.ours()
			if hpas > 6 { // Deployment, three Services at most, route, budget, policy
				t.Errorf("%d objects: it scales while the autoscaler is there", hpas)
			}
		}
		return nil
	}
	if md = b.rounds(2); *serving(b, md).Spec.Replicas != 2 {
		t.Errorf("%d replicas", *serving(b, md).Spec.Replicas)
	}
}

// TestDeploymentDeleted checks that the pods of a revision whose Deployment was deleted are
// made again as they were written, even if this controller would make others.
func TestDeploymentDeleted(t *testing.T) {
	b := newBench(t, deployment(nil))
	md := b.settle()
	var rev v1alpha1.ModelRevision
	b.get("cardio-1", &rev)
	if !strings.Contains(rev.Status.Pods, `"--insecure=false"`) {
		t.Fatal(rev.Status.Pods)
	}
	rev.Status.Pods = strings.Replace(rev.Status.Pods, `"--insecure=false"`, `"--insecure=false","--of-an-earlier-version"`, 1)
	if err := b.Status().Update(t.Context(), &rev); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(t.Context(), serving(b, md)); err != nil {
		t.Fatal(err)
	}
	md = b.rounds(3)
	if args := serving(b, md).Spec.Template.Spec.Containers[0].Args; args[len(args)-1] != "--of-an-earlier-version" {
		t.Errorf("%q", args)
	}
}
