//go:build e2e

package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestObjects changes what a deployment consists of while it serves.
func TestObjects(t *testing.T) {
	w := open(t, busy)
	defer w.table(t)
	w.situation(t, "the gateway taken out", setup{pods: 2, load: func(l *load) { w.beside(t, l) }}, func(t *testing.T, l *load) {
		w.answered(t, l, "1.0.0")
		l.divert() // callers leave the gateway before it goes
		w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Traffic.Gateway = nil })
		w.eventually(t, long, "the route is gone", func() bool {
			return apierrors.IsNotFound(w.Get(context.Background(), client.ObjectKey{Namespace: namespace, Name: model}, &gatewayv1.HTTPRoute{}))
		})
		w.follow(t, w.deploy(t, "1.1.0", "--strategy", "rolling"), v1alpha1.Deployed, long)
		w.only(t, l, "1.1.0", "1.0.0")
		w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) {
			s.Traffic.Gateway = &v1alpha1.GatewayReference{Name: "web", Namespace: "gateway"}
		})
	})
	w.scenario(t, "a pod template changed by hand", 2, func(t *testing.T, l *load) {
		hash := w.state(t).Status.Stable
		key := client.ObjectKey{Namespace: namespace, Name: model + "-" + hash}
		var d appsv1.Deployment
		w.get(t, key, &d)
		was := d.Spec.Template.Spec.DeepCopy()
		by := corev1.EnvVar{Name: "PYNOMALY_LOG_LEVEL", Value: "debug"}
		w.eventually(t, time.Minute, "somebody has changed the Deployment", func() bool {
			w.get(t, key, &d)
			d.Spec.Template.Spec.Containers[0].Env = append(d.Spec.Template.Spec.Containers[0].Env, by)
			return w.Update(context.Background(), &d) == nil
		})
		w.eventually(t, long, "it is as it was", func() bool {
			w.get(t, key, &d)
			return !slices.Contains(d.Spec.Template.Spec.Containers[0].Env, by)
		})
		if now := d.Spec.Template.Spec; now.Containers[0].Image != was.Containers[0].Image || len(now.Containers[0].Env) != len(was.Containers[0].Env) {
			t.Errorf("it became %+v", now)
		}
		w.eventually(t, time.Minute, "an event says so", func() bool {
			return slices.ContainsFunc(w.events(t), func(e string) bool { return strings.Contains(e, d.Name) && strings.Contains(e, "it was put back") })
		})
		w.eventually(t, long, "two pods without the change are ready", func() bool {
			pods := w.pods(t, hash)
			return len(pods) == 2 && !slices.ContainsFunc(pods, func(p corev1.Pod) bool { return !isReady(p) || slices.Contains(p.Spec.Containers[0].Env, by) })
		})
	})
	w.situation(t, "a stable version with constant scores, and its fix", setup{pods: 2, version: "3.0.0"}, func(t *testing.T, l *load) {
		for row := range 10 {
			if _, score, err := l.predict(row); err != nil || score != 10 {
				t.Fatalf("row %d scores %v, %v: 3.0.0 does not misbehave", row, score, err)
			}
		}
		w.eventually(t, long, "stable has scored enough", func() bool { _, _, v := l.mark(); return v["3.0.0"] > 500 })
		id := w.deploy(t, "1.1.0", steps("50:5s", "--replace-broken")...)
		w.follow(t, id, v1alpha1.Deployed, long)
		w.only(t, l, "1.1.0", "3.0.0")
	})
}

// divert sends all further requests the other way.
func (l *load) divert() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.every = 1
}
