package controller_test

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pynomaly/pynomaly-runtime/deployer/controller"
	"github.com/pynomaly/pynomaly-runtime/deployer/hostkeys"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// asked counts requests to the API server: all writes, and reads that are not from the
// cache.
type asked struct{ writes, reads int }

func (a *asked) client(c client.WithWatch) client.WithWatch {
	return interceptor.NewClient(c, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			a.writes++
			return c.Create(ctx, o, opts...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			a.writes++
			return c.Update(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			a.writes++
			return c.Patch(ctx, o, p, opts...)
		},
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			a.writes++
			return c.Apply(ctx, o, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			a.writes++
			return c.Delete(ctx, o, opts...)
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			a.writes++
			return c.SubResource(sub).Update(ctx, o, opts...)
		},
	})
}

func (a *asked) live(c client.WithWatch) client.WithWatch {
	return interceptor.NewClient(c, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			a.reads++
			return c.Get(ctx, key, o, opts...)
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			a.reads++
			return c.List(ctx, list, opts...)
		},
	})
}

// busy has hosts that nobody should ask at rest.
type busy struct {
	silent
	t *testing.T
}

func (b busy) Waits(context.Context, controller.Host) (string, error) {
	b.t.Error("a host was asked")
	return "", nil
}

// TestAtRest checks that a deployment that serves, whatever its strategy and its objects,
// costs no request: nothing is written, all reads come from the cache but that of the
// controller's keys, no host is asked, and the controller does not come back by itself.
func TestAtRest(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.ModelDeployment){
		"with a gateway": nil,
		"autoscaled": func(md *v1alpha1.ModelDeployment) {
			md.Spec.Autoscaling = &v1alpha1.Autoscaling{MinReplicas: 2, MaxReplicas: 5}
		},
		"by replicas":  func(md *v1alpha1.ModelDeployment) { md.Spec.Traffic.Gateway = nil },
		"a canary":     func(md *v1alpha1.ModelDeployment) { md.Spec.Strategy.Type = v1alpha1.Canary },
		"without pods": func(md *v1alpha1.ModelDeployment) { md.Spec.Replicas = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, deployment(change))
			b.rounds(8)
			var a asked
			inner := b.Client.(client.WithWatch)
			b.Client, b.Live, b.Figures = a.client(inner), a.live(inner), busy{t: t}
			b.Keys = &hostkeys.Own{Reader: b.Live, Namespace: b.Namespace, Now: b.Now}
			const rounds = 20
			for range rounds {
				result, err := b.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: ns, Name: "cardio"}})
				if err != nil || result.RequeueAfter != 0 {
					t.Fatalf("%+v, %v", result, err)
				}
				b.now = b.now.Add(250 * time.Millisecond)
			}
			if a.writes != 0 || a.reads > 3 { // the keys, once in 2 s
				t.Errorf("%d writes and %d reads of the API server in %d reconciles", a.writes, a.reads, rounds)
			}
		})
	}
}

// TestFiguresAreWrittenSeldom checks that requests to both revisions, which change the
// figures at each look, do not make the controller write at each look: a write causes the
// next look.
func TestFiguresAreWrittenSeldom(t *testing.T) {
	for name, step := range map[string]v1alpha1.Step{
		"held":               {Weight: 50, Hold: &metav1.Duration{Duration: time.Hour}},
		"waiting for rows":   {Weight: 50, Hold: &metav1.Duration{}, MinSamples: 1_000_000_000},
		"off the weight":     {Weight: 20, Hold: &metav1.Duration{Duration: 15 * time.Second}},
		"waiting for people": {Weight: 50, Hold: &metav1.Duration{}, Pause: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, deployment(func(md *v1alpha1.ModelDeployment) {
				md.Spec.Strategy = v1alpha1.Strategy{Type: v1alpha1.Canary, Steps: []v1alpha1.Step{step}}
			}))
			b.Figures = &telling{bins: map[string][]float64{"1.0.0": {1}, "1.1.0": {1}}}
			md := b.settle()
			md.Spec.Template.Model.Version, md.Generation = "1.1.0", 2
			if err := b.Update(t.Context(), md); err != nil {
				t.Fatal(err)
			}
			if md = b.rounds(15); md.Status.Rollout.Weight != step.Weight || len(md.Status.Verdicts) == 0 {
				t.Fatalf("%+v", md.Status)
			}
			var a asked
			b.Client = a.client(b.Client.(client.WithWatch))
			const looks = 100
			for range looks {
				if err := b.reconcile(); err != nil {
					t.Fatal(err)
				}
				b.now = b.now.Add(20 * time.Millisecond)
			}
			if a.writes == 0 || a.writes > looks/3 { // a share that wavers is another message
				t.Errorf("%d writes in %d looks within 2 s", a.writes, looks)
			}
		})
	}
}
