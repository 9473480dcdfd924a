//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestPatience rolls out good versions to clients that do not follow the weight. None may
// be given up, however long the clients stay where they are.
func TestPatience(t *testing.T) {
	w := open(t, busy)
	defer w.table(t)
	w.situation(t, "clients with WebSockets only", setup{pods: 2, load: func(l *load) { l.sockets(10) }}, func(t *testing.T, l *load) {
		w.patient(t, l)
		w.only(t, l, "1.1.0", "1.0.0")
	})
	w.situation(t, "clients with WebSockets and others", setup{pods: 2, load: func(l *load) { l.mixed(2) }}, func(t *testing.T, l *load) { w.patient(t, l) })
	w.situation(t, "half the clients keep connections to the Service", setup{pods: 2, load: func(l *load) { w.beside(t, l) }}, func(t *testing.T, l *load) {
		w.environment(t, func(e *v1alpha1.EnvironmentSpec) {
			e.GatewayMetrics = &v1alpha1.GatewayMetrics{Kind: v1alpha1.MetricsTraefik, URL: "http://" + node() + ":9100/metrics"}
		})
		defer w.environment(t, func(e *v1alpha1.EnvironmentSpec) { e.GatewayMetrics = nil })
		for _, says := range w.patient(t, l) {
			if strings.Contains(says, "do not follow the weight") && !strings.Contains(says, "came beside the gateway") {
				t.Errorf("the pause says %q", says)
			}
		}
	})
	w.scenario(t, "stable scaled from 2 to 6 at 10 percent", 2, func(t *testing.T, l *load) {
		w.autoscaled(t, 6)
		id := w.deploy(t, "1.1.0", steps("10:0s:pause")...)
		hash := w.revision(t, id).Spec.Hash
		shares := w.shares(t, hash)
		w.follow(t, id, v1alpha1.Paused, long)
		w.scale(t, w.state(t).Status.Stable, 6)
		w.eventually(t, long, "stable has six pods", func() bool {
			n := 0
			for _, p := range w.pods(t, w.state(t).Status.Stable) {
				if isReady(p) {
					n++
				}
			}
			return n == 6
		})
		if all := shares(); slices.Max(all) != 10 {
			t.Errorf("the shares were %v", all)
		}
		w.run(t, 0, "resume", id, "--wait")
	})
	// They are lost at the canary, which does not have that version.
	w.situation(t, "a fifth of the clients names the old version", setup{pods: 2, mayLose: 12, load: func(l *load) {
		l.names = func() string {
			if rand.IntN(5) == 0 {
				return "1.0.0"
			}
			return ""
		}
	}}, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", steps("50:10s")...)
		w.eventually(t, long, id+" is not promoted", func() bool {
			switch r := w.revision(t, id); r.Status.Phase {
			case v1alpha1.Deployed:
				t.Fatalf("%s is deployed: %s", id, r.Status.Message)
			case v1alpha1.Paused:
				if !strings.Contains(r.Status.Message, "name a version") {
					t.Errorf("it is paused: %s", r.Status.Message)
				}
				w.run(t, 0, "abort", id, "--wait")
				return true
			case v1alpha1.Failed:
				return true
			}
			return false
		})
		w.only(t, l, "1.0.0", "1.1.0")
		sent, lost, _ := l.mark()
		w.eventually(t, time.Minute, "there are more requests", func() bool { now, _, _ := l.mark(); return now > sent+200 })
		if _, now, _ := l.mark(); now > lost {
			t.Errorf("%d more were lost after the end", now-lost)
		}
	})
}

// patient rolls out 1.1.0, and resumes it whenever it is paused, after a time that is
// longer than the deadline. It returns what the pauses said.
func (w *world) patient(t *testing.T, _ *load) (said []string) {
	id := w.deploy(t, "1.1.0", steps("50:10s")...)
	paused := time.Time{}
	w.eventually(t, 2*long, id+" is deployed", func() bool {
		switch r := w.revision(t, id); r.Status.Phase {
		case v1alpha1.Failed, v1alpha1.RolledBack:
			t.Fatalf("%s is %s: %s", id, r.Status.Phase, r.Status.Message)
		case v1alpha1.Deployed:
			return true
		case v1alpha1.Paused:
			if paused.IsZero() {
				paused = time.Now()
				w.deadline(t, 5*time.Second)
				t.Logf("paused: %s", r.Status.Message)
				said = append(said, r.Status.Message)
			}
			if time.Since(paused) > 10*time.Second {
				w.deadline(t, 0) // pods may take longer to start
				w.run(t, 0, "resume", id)
				w.eventually(t, time.Minute, "it is resumed", func() bool { return w.phase(t, id) != v1alpha1.Paused })
				paused = time.Time{}
			}
		}
		return false
	})
	return said
}

// mixed makes one request of n a message of a WebSocket.
func (l *load) mixed(n int) {
	sockets := newLoad(l.t, l.key, l.host)
	sockets.sockets(10)
	l.other, l.every = sockets.predict, n
	l.t.Cleanup(sockets.hangUp)
}

// beside sends half of the requests to a Service, over connections that are kept.
func (w *world) beside(t *testing.T, l *load) {
	t.Helper()
	direct := newLoad(l.t, l.key, l.host)
	direct.url = "http://" + w.service(t) + "/api/v1/predict"
	direct.client.Transport = &http.Transport{MaxConnsPerHost: 8, MaxIdleConnsPerHost: 8}
	w.eventually(t, time.Minute, "the Service answers", func() bool { _, _, err := direct.predict(0); return err == nil })
	l.other, l.every = direct.predict, 2
	t.Cleanup(direct.client.CloseIdleConnections)
}

// service returns the address of the Service for all pods that have traffic.
func (w *world) service(t *testing.T) string {
	t.Helper()
	var s corev1.Service
	w.get(t, client.ObjectKey{Namespace: namespace, Name: model}, &s)
	return fmt.Sprintf("%s:%d", s.Spec.ClusterIP, s.Spec.Ports[0].Port)
}

// autoscaled lets an autoscaler decide how many pods stable has. There are no metrics, so
// that the test can decide in its place.
func (w *world) autoscaled(t *testing.T, most int32) {
	t.Helper()
	w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) {
		s.Autoscaling = &v1alpha1.Autoscaling{MinReplicas: 2, MaxReplicas: most}
	})
}

// scale sets how many pods a revision should have.
func (w *world) scale(t *testing.T, hash string, n int32) {
	t.Helper()
	w.eventually(t, 10*time.Second, "the Deployment is scaled", func() bool {
		var d appsv1.Deployment
		w.get(t, client.ObjectKey{Namespace: namespace, Name: model + "-" + hash}, &d)
		d.Spec.Replicas = &n
		return w.Update(context.Background(), &d) == nil
	})
}
