//go:build e2e

package e2e

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// why checks that the status of a rollout that cannot go on says what it waits for, and
// that it goes on once the reason is gone.
func (w *world) why(t *testing.T, l *load) {
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: namespace, Name: name} }
	again := w.state(t).Spec.Template // deployed once more, 1.0.0 is another attempt
	again.Attempt++
	hash, err := render.Hash(again)
	if err != nil {
		t.Fatal(err)
	}
	name := model + "-" + hash
	before := "1.0.0"
	for _, c := range []struct {
		version, says string
		obstacle      client.Object
		flags         []string
	}{
		{"1.1.0", "exceeded quota: e2e", &corev1.ResourceQuota{
			ObjectMeta: meta("e2e"), Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("2")}},
		}, nil},
		{"1.0.0", namespace + "/" + name, &corev1.Service{ // of somebody else
			ObjectMeta: meta(name), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
		}, nil},
		{"1.2.0", "maximum memory usage per Container is 32Mi", &corev1.LimitRange{
			ObjectMeta: meta("e2e"), Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
				Type: corev1.LimitTypeContainer, Max: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("32Mi")},
			}}},
		}, []string{"--memory-limit", "1Gi"}},
	} {
		w.eventually(t, time.Minute, "the obstacle is there, after what has its name", func() bool { return w.Create(context.Background(), c.obstacle) == nil })
		t.Cleanup(func() { _ = w.Delete(context.Background(), c.obstacle) })
		id := w.deploy(t, c.version, steps("20:1s", c.flags...)...)
		w.says(t, id, c.says)
		if err := w.Delete(context.Background(), c.obstacle); err != nil {
			t.Fatal(err)
		}
		w.follow(t, id, v1alpha1.Deployed, long)
		w.only(t, l, c.version, before)
		before = c.version
	}
	id := w.deploy(t, "1.3.0", steps("20:1s", "--set", "PYNOMALY_LOG_LEVEL=shrill")...)
	w.says(t, id, "shrill") // the last line of the host that crashed
	w.deadline(t, time.Second)
	w.follow(t, id, v1alpha1.Failed, long)
	w.run(t, 0, "deploy", model+"@"+before, "--env", "development", "--models", w.models, "--set", "PYNOMALY_LOG_LEVEL=", "--strategy", "direct", "--wait")
}
