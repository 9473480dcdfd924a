package controller_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pynomaly/pynomaly-runtime/deployer/hostkeys"
	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// wants records what a client asks the API server for, as "verb resource.group".
type wants struct {
	t    *testing.T
	seen map[string]bool
}

func (a wants) note(c client.Client, o client.Object, subresource string, verbs ...string) {
	a.t.Helper()
	gvk, err := c.GroupVersionKindFor(o)
	if err != nil {
		a.t.Fatal(err)
	}
	gvk.Kind = strings.TrimSuffix(gvk.Kind, "List")
	resource, _ := meta.UnsafeGuessKindToResource(gvk)
	for _, v := range verbs {
		a.seen[v+" "+resource.Resource+subresource+"."+resource.Group] = true
	}
}

// uncached reads from the API server itself.
type uncached struct {
	wants
	client.Client
}

func (u uncached) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	u.note(u.Client, o, "", "get")
	return u.Client.Get(ctx, key, o, opts...)
}

func (u uncached) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	u.noteList(u.Client, list, "list")
	return u.Client.List(ctx, list, opts...)
}

func (a wants) noteList(c client.Client, list client.ObjectList, verbs ...string) {
	a.t.Helper()
	gvk, err := c.GroupVersionKindFor(list)
	if err != nil {
		a.t.Fatal(err)
	}
	o, err := c.Scheme().New(gvk.GroupVersion().WithKind(strings.TrimSuffix(gvk.Kind, "List")))
	if err != nil {
		a.t.Fatal(err)
	}
	a.note(c, o.(client.Object), "", verbs...)
}

// record makes the bench record its requests. Objects from the cache are listed and
// watched.
func (a wants) record(b *bench) {
	inner := b.Client.(client.WithWatch)
	b.Live = uncached{a, inner}
	b.Keys = &hostkeys.Own{Reader: b.Live, Namespace: b.Namespace, Now: b.Now}
	b.Client = interceptor.NewClient(inner, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			a.note(c, o, "", "list", "watch")
			return c.Get(ctx, key, o, opts...)
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			a.noteList(c, list, "list", "watch")
			return c.List(ctx, list, opts...)
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			a.note(c, o, "", "create")
			return c.Create(ctx, o, opts...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			a.note(c, o, "", "update")
			return c.Update(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			a.note(c, o, "", "patch")
			return c.Patch(ctx, o, p, opts...)
		},
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			a.note(c, o.(client.Object), "", "patch")
			return c.Apply(ctx, o, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			a.note(c, o, "", "delete")
			return c.Delete(ctx, o, opts...)
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			a.note(c, o, "/"+sub, "update")
			return c.SubResource(sub).Update(ctx, o, opts...)
		},
	})
}

// granted returns the verbs of a role's rules in the same form.
func granted(rules []rbacv1.PolicyRule) []string {
	var out []string
	for _, r := range rules {
		for _, resource := range r.Resources {
			for _, v := range r.Verbs {
				out = append(out, v+" "+resource+"."+r.APIGroups[0])
			}
		}
	}
	return out
}

// ownKey is the controller's key in a bench.
const ownKey = "pyn_aaaaaaaa_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

func keysSecret() *corev1.Secret {
	s := &corev1.Secret{Data: map[string][]byte{ns: []byte(ownKey + "\n")}}
	s.Name, s.Namespace = render.ControllerKeys, "pynomaly-system"
	return s
}

// TestRoles checks that the roles grant exactly what rollouts ask the API server
// for. ../../e2e does the same on a real API server with the installed role.
func TestRoles(t *testing.T) {
	a := wants{t, map[string]bool{}}
	b := newBench(t, deployment(func(md *v1alpha1.ModelDeployment) {
		md.Spec.Autoscaling = &v1alpha1.Autoscaling{MinReplicas: 2, MaxReplicas: 5}
		md.Spec.Template.Samples, md.Spec.HistoryLimit = 10, 1
	}))
	plain := b.Client
	quiet := func(do func()) { // the cluster's requests are not the controller's
		recording := b.Client
		b.Client = plain
		do()
		b.Client = recording
	}
	a.record(b)
	rounds := func() *v1alpha1.ModelDeployment {
		for range 12 {
			if err := b.reconcile(); err != nil {
				t.Fatal(err)
			}
			quiet(b.cluster)
			b.now = b.now.Add(5 * time.Second)
		}
		md := &v1alpha1.ModelDeployment{}
		quiet(func() { b.get("cardio", md) })
		return md
	}
	change := func(do func(*v1alpha1.ModelDeployment)) {
		md := rounds()
		do(md)
		md.Generation++
		quiet(func() {
			if err := b.Update(t.Context(), md); err != nil {
				t.Fatal(err)
			}
		})
	}
	change(func(md *v1alpha1.ModelDeployment) { md.Spec.Autoscaling.MaxReplicas = 6 })
	quiet(func() {
		var budget policyv1.PodDisruptionBudget
		b.get("cardio", &budget)
		budget.Spec.MaxUnavailable = &intstr.IntOrString{IntVal: 2}
		if err := b.Update(t.Context(), &budget); err != nil {
			t.Fatal(err)
		}
	})
	change(func(md *v1alpha1.ModelDeployment) { md.Spec.Autoscaling = nil })
	change(func(md *v1alpha1.ModelDeployment) {
		md.Spec.Replicas, md.Spec.Traffic.Admit, md.Spec.Traffic.Hostnames = 3, []string{"other"}, []string{"models.example.com"}
	})
	change(func(md *v1alpha1.ModelDeployment) {
		md.Spec.Strategy = v1alpha1.Strategy{Type: v1alpha1.Canary, Steps: []v1alpha1.Step{{Weight: 50}}}
		md.Spec.Template.Model.Version = "1.1.0"
	})
	change(func(md *v1alpha1.ModelDeployment) {
		md.Spec.Strategy = v1alpha1.Strategy{Type: v1alpha1.Direct}
		md.Spec.Template.Model.Version, md.Spec.Traffic.Gateway = "1.2.0", nil
	})
	rounds()
	quiet(func() {
		var env v1alpha1.Environment
		if err := b.Get(t.Context(), client.ObjectKey{Name: "development"}, &env); err != nil {
			t.Fatal(err)
		}
		env.Spec.ApprovalRequired, env.Spec.Image = true, "x:1"
		if err := b.Update(t.Context(), &env); err != nil {
			t.Fatal(err)
		}
	})
	change(func(md *v1alpha1.ModelDeployment) {
		md.Spec.Template.Model.Version, md.Spec.Template.Model.Digest = "1.3.0", "sha256:"+strings.Repeat("0", 64)
	})
	rounds()
	want := map[string]bool{}
	for _, o := range (render.System{Namespace: "pynomaly-system"}).Objects() {
		var rules []rbacv1.PolicyRule
		switch role := o.(type) {
		case *rbacv1.ClusterRole:
			if strings.HasPrefix(role.Name, render.ControllerName) {
				rules = role.Rules
			}
		case *rbacv1.Role:
			rules = role.Rules
		}
		for _, v := range granted(rules) {
			want[v] = true
		}
	}
	lease := ".coordination.k8s.io"
	for _, v := range []string{"create events.", "patch events.", "create leases" + lease, "get leases" + lease, "update leases" + lease} { // requests of client-go that do not use this client
		if !want[v] {
			t.Errorf("%s is not granted", v)
		}
		delete(want, v)
	}
	for v := range a.seen {
		if !want[v] {
			t.Errorf("it was asked for and is not granted: %s", v)
		}
	}
	for v := range want {
		if !a.seen[v] {
			t.Errorf("it is granted and was not asked for: %s", v)
		}
	}
	if t.Failed() {
		all := []string{}
		for v := range a.seen {
			all = append(all, v)
		}
		slices.Sort(all)
		t.Log(fmt.Sprint(strings.Join(all, "\n")))
	}
}
