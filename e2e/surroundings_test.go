//go:build e2e

package e2e

import (
	"context"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestSurroundings rolls out versions on clusters that are not like the one of the
// other tests.
func TestSurroundings(t *testing.T) {
	w := open(t, busy)
	defer w.table(t)
	w.scenario(t, "every request to the API server takes 5 s", 2, func(t *testing.T, l *load) {
		w.behind(t, func(proxy http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("watch") == "" {
					select {
					case <-time.After(5 * time.Second):
					case <-r.Context().Done():
						return
					}
				}
				proxy.ServeHTTP(rw, r)
			})
		}, "--leader-elect=false")
		// The command does not wait until this controller has recorded the deployment.
		w.run(t, 0, append([]string{"deploy", model + "@1.1.0", "--env", "development", "--models", w.models}, steps("20:2s")...)...)
		w.eventually(t, 4*long, "1.1.0 is deployed", func() bool {
			md := w.state(t)
			return md.Status.Phase == v1alpha1.Deployed && md.Status.Stable == md.Status.Update && md.Status.ObservedGeneration == md.Generation
		})
		w.only(t, l, "1.1.0", "1.0.0")
	})
	t.Run("without_a_gateway", func(t *testing.T) { w.gatewayless(t) })
}

// apart runs a scenario that makes its load itself.
func (w *world) apart(t *testing.T, name string, run func(t *testing.T) *load) {
	t.Helper()
	start, line := time.Now(), row{scenario: name, verdict: "failed"}
	defer func() {
		line.took = time.Since(start)
		w.rows = append(w.rows, line)
	}()
	l := run(t)
	l.end()
	if line.sent, line.lost = l.sent, l.failed; l.failed > 0 || l.sent == 0 {
		t.Errorf("%d of %d requests were lost: %s", l.failed, l.sent, strings.Join(l.lost, "; "))
	}
	if !t.Failed() {
		line.verdict = "passed"
	}
}

// gatewayless rolls out a version where the number of pods splits the traffic.
func (w *world) gatewayless(t *testing.T) {
	w.clear(t)
	var gateway *v1alpha1.GatewayReference
	w.environment(t, func(e *v1alpha1.EnvironmentSpec) { gateway, e.Traffic.Gateway = e.Traffic.Gateway, nil })
	defer func() {
		w.environment(t, func(e *v1alpha1.EnvironmentSpec) { e.Traffic.Gateway = gateway })
		w.clear(t)
	}()
	w.apart(t, "without a gateway, through the Service", func(t *testing.T) *load {
		w.follow(t, w.deploy(t, "1.0.0", "--strategy", "direct", "--replicas", "3"), v1alpha1.Deployed, long)
		l := newLoad(t, w.key, "development.test")
		l.url = "http://" + w.service(t) + "/api/v1/predict"
		l.client.Transport = &http.Transport{DisableKeepAlives: true} // each request goes to a pod by chance
		w.eventually(t, time.Minute, "the Service answers", func() bool { _, _, err := l.predict(0); return err == nil })
		l.start(w.rate)
		w.answered(t, l, "1.0.0")
		id := w.deploy(t, "1.1.0", steps("25:5s,50:5s")...)
		w.follow(t, id, v1alpha1.Deployed, long)
		w.only(t, l, "1.1.0", "1.0.0")
		w.follow(t, w.deploy(t, "1.2.0", "--strategy", "rolling"), v1alpha1.Deployed, long)
		w.only(t, l, "1.2.0", "1.1.0")
		return l
	})
}

// clear removes the deployment, and waits until nothing is left of it.
func (w *world) clear(t *testing.T) {
	t.Helper()
	if err := w.DeleteAllOf(context.Background(), &v1alpha1.ModelDeployment{}, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	w.eventually(t, time.Minute, "nothing is left", func() bool {
		var all corev1.PodList
		return w.List(context.Background(), &all, client.InNamespace(namespace)) == nil && len(all.Items) == 0 && len(w.revisions(t)) == 0
	})
}

// TestSecondNode rolls out versions on two nodes. It starts the second one.
func TestSecondNode(t *testing.T) {
	w := open(t, busy)
	defer w.table(t)
	ctx := context.Background()
	if out, err := exec.Command("./cluster.sh", "second").CombinedOutput(); err != nil {
		t.Fatalf("starting a second node: %v\n%s", err, out)
	}
	unplugged := false
	unplug := func() {
		if unplugged = true; exec.Command("./cluster.sh", "unplug").Run() != nil {
			t.Error("the second node does not end")
		}
	}
	defer func() {
		if !unplugged {
			unplug()
		}
		_ = w.Delete(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "second"}})
	}()
	there := func() (out []corev1.Pod) {
		var all corev1.PodList
		if err := w.List(ctx, &all); err != nil {
			t.Fatal(err)
		}
		for _, p := range all.Items {
			if p.Spec.NodeName == "second" {
				out = append(out, p)
			}
		}
		return out
	}
	cordon := func(on bool) {
		w.eventually(t, time.Minute, "the node is cordoned", func() bool {
			var n corev1.Node
			w.get(t, client.ObjectKey{Name: "second"}, &n)
			n.Spec.Unschedulable = on
			return w.Update(ctx, &n) == nil
		})
	}
	w.scenario(t, "a node is drained in the middle of a canary", 4, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", steps("50:20s")...)
		w.answered(t, l, "1.1.0")
		if len(there()) == 0 {
			t.Error("no pod is on the second node")
		}
		cordon(true)
		w.eventually(t, 2*long, "the second node is empty", func() bool {
			all := there()
			for _, p := range all {
				_ = w.SubResource("eviction").Create(ctx, &p, &policyv1.Eviction{}) // the budget may not allow it yet
			}
			return len(all) == 0
		})
		w.follow(t, id, v1alpha1.Deployed, long)
		cordon(false)
	})
	// Until somebody says that the node is gone, a part of the requests goes there.
	w.situation(t, "a node is lost in the middle of a canary", setup{pods: 4, mayLose: 20}, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", steps("50:20s")...)
		w.answered(t, l, "1.1.0")
		lost := there()
		unplug()
		for _, p := range lost { // as somebody does who knows that the node will not return
			_ = w.Delete(ctx, &p, client.GracePeriodSeconds(0))
		}
		if err := w.Delete(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "second"}}); err != nil {
			t.Fatal(err)
		}
		w.follow(t, id, v1alpha1.Deployed, 2*long)
		w.only(t, l, "1.1.0", "1.0.0")
		_, failed, _ := l.mark()
		t.Logf("%d pods were on the node", len(lost))
		w.eventually(t, time.Minute, "nothing more is lost", func() bool {
			was := failed
			time.Sleep(3 * time.Second)
			_, failed, _ = l.mark()
			return failed == was
		})
	})
}
