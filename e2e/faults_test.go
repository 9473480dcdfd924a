//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestFaults runs the scenarios that take longer, or that need pods that can be
// reached from this machine.
func TestFaults(t *testing.T) {
	w := open(t)
	defer w.table(t)

	w.scenario(t, "13 scale while paused", 2, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", "--strategy", "canary", "--steps", "50:0s:pause")
		w.follow(t, id, v1alpha1.Paused, long)
		w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Replicas = 4 })
		hash := w.revision(t, id).Spec.Hash
		w.eventually(t, time.Minute, "both revisions have more pods", func() bool {
			return len(w.pods(t, hash)) == 2 && len(w.pods(t, w.state(t).Status.Stable)) == 4
		})
		w.follow(t, id, v1alpha1.Paused, long)
		w.run(t, 0, "resume", id, "--wait")
	})
	w.scenario(t, "18 rollback outside the window", 2, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", "--strategy", "blue_green")
		w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Window = span(time.Second) })
		w.follow(t, id, v1alpha1.Deployed, long)
		w.eventually(t, time.Minute, "the old pods are gone", func() bool {
			var all appsv1.DeploymentList
			return w.List(context.Background(), &all, client.InNamespace(namespace)) == nil && len(all.Items) == 1
		})
		w.run(t, 0, "rollback", id, "--wait")
		w.eventually(t, time.Minute, "every answer is of 1.0.0", func() bool { return time.Since(l.last("1.1.0")) > 3*time.Second })
	})
	w.scenario(t, "19 inconclusive gates pause", 2, func(t *testing.T, l *load) {
		w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Gates = &v1alpha1.Gates{MinSamples: 1_000_000} })
		defer w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Gates = &v1alpha1.Gates{MinSamples: 40} })
		id := w.deploy(t, "1.1.0", "--strategy", "canary", "--steps", "20:3s")
		w.eventually(t, long, "the rollout pauses for samples", func() bool {
			md := w.state(t)
			return md.Status.Phase == v1alpha1.Paused && strings.Contains(md.Status.Message, "too few samples")
		})
		w.run(t, 0, "resume", id, "--wait")
	})
	w.scenario(t, "replayed rows keep a bad version from traffic", 2, func(t *testing.T, l *load) {
		w.follow(t, w.deploy(t, "1.1.0", "--strategy", "direct", "--samples", "200"), v1alpha1.Deployed, long)
		defer w.run(t, 0, "deploy", model+"@1.0.0", "--env", "development", "--models", w.models, "--strategy", "direct", "--samples", "0", "--wait")
		bad := w.deploy(t, "2.0.0", "--strategy", "canary", "--steps", "10:3s")
		w.follow(t, bad, v1alpha1.Failed, long)
		if m := w.revision(t, bad).Status.Message; !strings.Contains(m, "shadow-disagreement") {
			t.Errorf("it failed with %q", m)
		}
		if !l.last("2.0.0").IsZero() {
			t.Error("2.0.0 had traffic")
		}
		w.follow(t, w.deploy(t, "1.2.0", "--strategy", "blue_green"), v1alpha1.Deployed, long)
	})
	w.scenario(t, "22 budget honoured", 2, func(t *testing.T, l *load) {
		pods := w.pods(t, w.state(t).Status.Stable)
		evict := func(p corev1.Pod) error {
			return w.SubResource("eviction").Create(context.Background(), &p, &policyv1.Eviction{})
		}
		if err := evict(pods[0]); err != nil {
			t.Fatal(err)
		}
		if err := evict(pods[1]); !apierrors.IsTooManyRequests(err) {
			t.Errorf("the second pod was evicted, too: %v", err)
		}
		w.eventually(t, long, "the second pod can go when the first one is replaced", func() bool { return evict(pods[1]) == nil })
		w.eventually(t, long, "two others are ready", func() bool {
			now := w.pods(t, w.state(t).Status.Stable)
			return len(now) == 2 && !slices.ContainsFunc(now, func(p corev1.Pod) bool { return p.Name == pods[0].Name || p.Name == pods[1].Name || !isReady(p) })
		})
	})
	w.scenario(t, "24 two operators race", 2, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", "--strategy", "canary", "--steps", "30:2m")
		w.eventually(t, long, "1.1.0 answers", func() bool { return !l.last("1.1.0").IsZero() })
		codes := make(chan int, 8)
		for n := range cap(codes) {
			go func() {
				action := []string{"resume", id, "--full"}
				if n%2 == 0 {
					action = []string{"abort", id}
				}
				_, _, code := w.try(t, action...)
				codes <- code
			}()
		}
		for range cap(codes) {
			if code := <-codes; code != 0 && code != 1 && code != 4 {
				t.Errorf("exit code %d", code)
			}
		}
		w.eventually(t, long, "the rollout has ended", func() bool {
			p := w.phase(t, id)
			return p == v1alpha1.RolledBack || p == v1alpha1.Deployed
		})
		// A killed command changes nothing.
		other := w.deploy(t, "1.2.0", "--strategy", "canary", "--steps", "30:5s")
		for range 5 {
			cmd := exec.Command(w.binary, "deploy", "resume", other, "--wait")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
			_ = cmd.Process.Signal(syscall.SIGKILL)
			_ = cmd.Wait()
		}
		w.follow(t, other, v1alpha1.Deployed, long)
	})
	w.scenario(t, "25d API server answers 409, 429, 5xx and not at all", 2, func(t *testing.T, l *load) {
		faults := w.behindFaults(t)
		id := w.deploy(t, "1.1.0", "--strategy", "canary", "--steps", "10:3s,50:3s")
		w.follow(t, id, v1alpha1.Deployed, 2*long)
		second := w.deploy(t, "1.2.0", "--strategy", "rolling")
		w.follow(t, second, v1alpha1.Deployed, 2*long)
		t.Logf("%d of the controller's requests were answered with faults", faults.Load())
		if faults.Load() < 5 {
			t.Error("too few faults to tell")
		}
	})
}

func isReady(p corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady && c.Status == "True" })
}

// behindFaults injects faults into the controller's requests for one scenario.
func (w *world) behindFaults(t *testing.T) *atomic.Int64 {
	t.Helper()
	var faults atomic.Int64
	w.behind(t, func(proxy http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet || strings.Contains(r.URL.Path, "/events") || rand.IntN(3) > 0 {
				proxy.ServeHTTP(rw, r)
				return
			}
			faults.Add(1)
			code, reason := http.StatusConflict, "Conflict"
			switch rand.IntN(4) {
			case 1:
				code, reason = http.StatusTooManyRequests, "TooManyRequests"
				rw.Header().Set("Retry-After", "1")
			case 2:
				code, reason = http.StatusInternalServerError, "InternalError"
			case 3: // the request succeeds, but the response is lost
				proxy.ServeHTTP(httptest.NewRecorder(), r)
				time.Sleep(time.Second)
				code, reason = http.StatusGatewayTimeout, "Timeout"
			}
			_, _ = io.Copy(io.Discard, r.Body)
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(code)
			_ = json.NewEncoder(rw).Encode(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": "a fault of the test"})
		})
	}, "--leader-elect=false")
	return &faults
}

// behind replaces the cluster's controllers with one on this machine, until the test
// ends. It has the installed role, and its requests pass through a handler.
func (w *world) behind(t *testing.T, through func(proxy http.Handler) http.Handler, args ...string) {
	t.Helper()
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil).ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:pynomaly-system:pynomaly-controller", Groups: []string{"system:serviceaccounts", "system:serviceaccounts:pynomaly-system", "system:authenticated"}}
	transport, err := rest.TransportFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(cfg.Host)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		FlushInterval: -1, Transport: transport, ErrorHandler: func(rw http.ResponseWriter, _ *http.Request, _ error) { rw.WriteHeader(http.StatusBadGateway) },
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
	}
	server := httptest.NewServer(through(proxy))
	scale := func(n int32) {
		w.eventually(t, 10*time.Second, "the controllers are scaled", func() bool {
			var d appsv1.Deployment
			w.get(t, client.ObjectKey{Namespace: "pynomaly-system", Name: "pynomaly-controller"}, &d)
			d.Spec.Replicas = &n
			return w.Update(context.Background(), &d) == nil
		})
	}
	scale(0)
	w.eventually(t, time.Minute, "the controllers are gone", func() bool {
		var all corev1.PodList
		return w.List(context.Background(), &all, client.InNamespace("pynomaly-system")) == nil && len(all.Items) == 0
	})
	if err := client.IgnoreNotFound(w.Delete(context.Background(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "pynomaly-system", Name: render.LeaseName}})); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "kubeconfig")
	text := fmt.Sprintf("{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: x, user: x}}], clusters: [{name: x, cluster: {server: %q}}], users: [{name: x, user: {}}]}", server.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "controller.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(w.binary, append([]string{"controller", "--metrics-bind-address", "0", "--health-probe-bind-address", "0"}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+file)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		server.CloseClientConnections()
		server.Close()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("%s", text)
		}
		scale(2)
		w.eventually(t, time.Minute, "the controllers are back", func() bool { return len(w.controllers(t)) == 2 })
	})
}
