//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestMore runs the scenarios that need not pass before a change is merged.
func TestMore(t *testing.T) {
	w := open(t)
	defer w.table(t)
	t.Run("1_first_deployment_skips_the_steps", func(t *testing.T) { w.first(t) })
	w.scenario(t, "5 promoted in the middle, and not after an abort", 2, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", "--strategy", "canary", "--steps", "20:5m")
		w.eventually(t, long, "1.1.0 answers", func() bool { return !l.last("1.1.0").IsZero() })
		w.run(t, 0, "resume", id, "--full", "--wait")
		other := w.deploy(t, "1.2.0", "--strategy", "canary", "--steps", "20:5m")
		w.eventually(t, long, "1.2.0 answers", func() bool { return !l.last("1.2.0").IsZero() })
		w.run(t, 0, "abort", other)
		_, _, _ = w.try(t, "resume", other, "--full") // the rollout may have ended, or the command may be refused
		w.follow(t, other, v1alpha1.RolledBack, long)
		if p := w.phase(t, id); p != v1alpha1.Deployed {
			t.Errorf("%s is %s", id, p)
		}
	})
	w.scenario(t, "6 7 8 bad versions one after another, then a good one", 4, func(t *testing.T, l *load) {
		most := w.watchPods(t)
		defer func() { w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Deadline = nil }) }()
		bad := w.deploy(t, "2.1.0", "--strategy", "rolling")
		w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Deadline = span(15 * time.Second) })
		w.eventually(t, long, "the bad one has a pod", func() bool { return len(w.pods(t, w.revision(t, bad).Spec.Hash)) > 0 })
		worse := w.deploy(t, "2.1.0", "--strategy", "rolling", "--digest", "sha256:"+strings.Repeat("1", 64))
		w.follow(t, bad, v1alpha1.Superseded, long)
		w.follow(t, worse, v1alpha1.Failed, long)
		w.eventually(t, long, "only stable is left", func() bool {
			return len(w.pods(t, w.revision(t, bad).Spec.Hash))+len(w.pods(t, w.revision(t, worse).Spec.Hash)) == 0
		})
		again := w.deploy(t, "2.1.0", "--strategy", "rolling", "--digest", "sha256:"+strings.Repeat("2", 64))
		w.eventually(t, long, "the next bad one has a pod", func() bool { return len(w.pods(t, w.revision(t, again).Spec.Hash)) > 0 })
		good := w.deploy(t, "1.1.0", "--strategy", "rolling")
		w.follow(t, good, v1alpha1.Deployed, long)
		w.follow(t, again, v1alpha1.Superseded, long)
		n, which := most()
		t.Logf("up to %d pods at once: %s", n, which)
		if n > 4+2 { // a surge of one, and one that is being deleted
			t.Error("more than 4 pods and a surge of one")
		}
	})
	w.scenario(t, "10 undone in the middle of a canary", 2, func(t *testing.T, l *load) {
		stable := w.state(t).Status.Stable
		id := w.deploy(t, "1.1.0", "--strategy", "canary", "--steps", "50:5m")
		w.eventually(t, long, "1.1.0 answers", func() bool { return !l.last("1.1.0").IsZero() })
		w.run(t, 0, "deploy", model+"@1.0.0", "--env", "development", "--models", w.models, "--wait")
		w.follow(t, id, v1alpha1.Superseded, long)
		if n := len(w.pods(t, stable)); n < 2 && w.state(t).Status.Stable == stable {
			t.Errorf("the stable revision has %d pods", n)
		}
		w.eventually(t, time.Minute, "every answer is of 1.0.0", func() bool { return time.Since(l.last("1.1.0")) > 3*time.Second })
	})
	w.scenario(t, "11 aborted while stable has few pods", 4, func(t *testing.T, l *load) {
		stable := w.state(t).Status.Stable
		id := w.deploy(t, "1.1.0", "--strategy", "rolling")
		w.eventually(t, long, "stable has fewer pods", func() bool { return w.desired(t, stable) < 4 })
		w.run(t, 0, "abort", id, "--wait")
		w.eventually(t, time.Minute, "stable has all its pods", func() bool { return w.desired(t, stable) == 4 && len(w.pods(t, w.revision(t, id).Spec.Hash)) == 0 })
	})
	w.scenario(t, "14 version and replicas changed together", 2, func(t *testing.T, l *load) {
		w.follow(t, w.deploy(t, "1.1.0", "--strategy", "canary", "--steps", "25:3s", "--replicas", "4"), v1alpha1.Deployed, long)
		w.eventually(t, time.Minute, "there are four pods", func() bool { return len(w.pods(t, w.state(t).Status.Stable)) == 4 })
	})
	w.scenario(t, "15 a deadline passes while it is paused", 2, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", "--strategy", "canary", "--steps", "20:1s:pause")
		w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Deadline = span(15 * time.Second) })
		defer w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Deadline = nil })
		w.follow(t, id, v1alpha1.Paused, long)
		paused := time.Now()
		w.eventually(t, time.Minute, "twice the deadline has passed", func() bool { return time.Since(paused) > 30*time.Second })
		if p := w.phase(t, id); p != v1alpha1.Paused {
			t.Errorf("%s is %s", id, p)
		}
		w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Deadline = nil })
		w.run(t, 0, "resume", id, "--wait")
	})
	w.scenario(t, "17 blue_green fails before and after its switch", 2, func(t *testing.T, l *load) {
		before := w.deploy(t, "2.1.0", "--strategy", "blue_green")
		w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Deadline = span(15 * time.Second) })
		w.follow(t, before, v1alpha1.Failed, long)
		w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Deadline = nil })
		after := w.deploy(t, "2.0.0", "--strategy", "blue_green")
		w.follow(t, after, v1alpha1.Failed, long)
		if l.last("2.0.0").IsZero() || !strings.Contains(w.revision(t, after).Status.Message, "a gate failed") {
			t.Errorf("%s", w.revision(t, after).Status.Message)
		}
		w.eventually(t, time.Minute, "every answer is of 1.0.0", func() bool { return time.Since(l.last("2.0.0")) > 3*time.Second })
		_, _, versions := l.mark()
		t.Logf("2.0.0 answered %d requests before it was aborted", versions["2.0.0"])
	})
	w.scenario(t, "20 what is impossible is refused, then mended", 2, func(t *testing.T, l *load) {
		was := w.state(t)
		for _, args := range [][]string{
			{"--steps", "50:1s,10:1s", "--strategy", "canary"}, {"--steps", "10:1s", "--strategy", "rolling"}, {"--replicas", "100000"}, {"--cpu-request", "many"},
		} {
			if _, errs, code := w.try(t, append([]string{"deploy", model + "@1.1.0", "--env", "development", "--models", w.models}, args...)...); code != 1 || errs == "" {
				t.Errorf("%v: exit code %d: %s", args, code, errs)
			}
		}
		md := w.state(t)
		md.Spec.Template.Model.ID = "another"
		if err := w.Update(context.Background(), md); err == nil || !strings.Contains(err.Error(), "cannot change") {
			t.Errorf("another model: %v", err)
		}
		if now := w.state(t); now.Generation != was.Generation {
			t.Error("something was changed")
		}
		w.follow(t, w.deploy(t, "1.1.0", canary...), v1alpha1.Deployed, long)
	})
	t.Run("25e_the_gateway_never_acknowledges", func(t *testing.T) { w.silence(t) })
}

// first deletes the deployment and creates it again, with steps that would take an
// hour.
func (w *world) first(t *testing.T) {
	start, line := time.Now(), row{scenario: "1 first deployment skips the steps", verdict: "failed"}
	defer func() {
		line.took = time.Since(start)
		w.rows = append(w.rows, line)
	}()
	if err := w.DeleteAllOf(context.Background(), &v1alpha1.ModelDeployment{}, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	w.eventually(t, time.Minute, "nothing is left", func() bool {
		var all corev1.PodList
		return w.List(context.Background(), &all, client.InNamespace(namespace)) == nil && len(all.Items) == 0
	})
	w.follow(t, w.deploy(t, "1.0.0", "--strategy", "canary", "--steps", "10:1h"), v1alpha1.Deployed, long)
	w.eventually(t, time.Minute, "the gateway answers", func() bool { return answers("development.test") })
	l := startLoad(t, w.key, "development.test", w.rate)
	w.eventually(t, time.Minute, "1.0.0 answers", func() bool { return !l.last("1.0.0").IsZero() })
	l.end()
	if line.sent, line.lost = l.sent, l.failed; line.lost == 0 && !t.Failed() {
		line.verdict = "passed"
	} else {
		t.Errorf("%d of %d requests were lost: %s", l.failed, l.sent, strings.Join(l.lost, "; "))
	}
}

// silence rolls out behind a Gateway that no controller handles.
func (w *world) silence(t *testing.T) {
	start, line := time.Now(), row{scenario: "25e the gateway never acknowledges (staging, without load)", verdict: "failed"}
	defer func() {
		line.took = time.Since(start)
		w.rows = append(w.rows, line)
	}()
	const staging = "pynomaly-staging"
	if err := w.DeleteAllOf(context.Background(), &v1alpha1.ModelDeployment{}, client.InNamespace(staging)); err != nil {
		t.Fatal(err)
	}
	var e v1alpha1.Environment
	w.get(t, client.ObjectKey{Name: "staging"}, &e)
	deadline, gateway := e.Spec.Strategy.Deadline, e.Spec.Traffic.Gateway.DeepCopy()
	set := func(d *v1alpha1.EnvironmentSpec) {
		w.get(t, client.ObjectKey{Name: "staging"}, &e)
		e.Spec.Strategy.Deadline, e.Spec.Traffic.Gateway = d.Strategy.Deadline, d.Traffic.Gateway
		if err := w.Update(context.Background(), &e); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		set(&v1alpha1.EnvironmentSpec{Strategy: &v1alpha1.Strategy{Deadline: deadline}, Traffic: v1alpha1.Traffic{Gateway: gateway}})
		_ = w.DeleteAllOf(context.Background(), &v1alpha1.ModelDeployment{}, client.InNamespace(staging))
	}()
	set(&v1alpha1.EnvironmentSpec{Strategy: &v1alpha1.Strategy{Deadline: span(10 * time.Second)}, Traffic: v1alpha1.Traffic{Gateway: &v1alpha1.GatewayReference{Name: "nobody", Namespace: "gateway"}}})
	// A first revision whose pods are ready is not given up: nothing else could serve.
	out := w.run(t, 5, "deploy", model+"@1.0.0", "--env", "staging", "--models", w.models, "--wait", "--timeout", "40s")
	if !strings.Contains(out, "gateway has not taken") {
		t.Errorf("%s", out)
		return
	}
	line.verdict = "passed"
}

// desired returns how many pods a revision should have.
func (w *world) desired(t *testing.T, hash string) int32 {
	t.Helper()
	var d appsv1.Deployment
	w.get(t, client.ObjectKey{Namespace: namespace, Name: model + "-" + hash}, &d)
	return *d.Spec.Replicas
}

// watchPods records the largest number of pods that are not terminating, with their
// revisions.
func (w *world) watchPods(t *testing.T) func() (int, string) {
	ctx, cancel := context.WithCancel(context.Background())
	most, which := 0, ""
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			var all corev1.PodList
			if w.List(ctx, &all, client.InNamespace(namespace)) == nil {
				n, of := 0, map[string]int{}
				for _, p := range all.Items {
					if p.DeletionTimestamp == nil {
						n++
						of[p.Labels[v1alpha1.Group+"/revision"]]++
					}
				}
				if n > most {
					most, which = n, fmt.Sprint(time.Now().Format("15:04:05.0"), " ", of)
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return func() (int, string) { cancel(); wg.Wait(); return most, which }
}

// TestLoad rolls out and back under a heavier load until each strategy has had
// enough requests.
func TestLoad(t *testing.T) {
	const enough = 50_000
	w := open(t)
	defer w.table(t)
	w.follow(t, w.deploy(t, "1.0.0", "--strategy", "direct", "--replicas", "2"), v1alpha1.Deployed, long)
	w.eventually(t, time.Minute, "the gateway answers", func() bool { return answers("development.test") })
	can := w.capacity(t)
	w.rate = min(500, can/3)
	t.Logf("the cluster answers %d requests/s; the load is %d/s", can, w.rate)
	w.notes = append(w.notes, fmt.Sprintf("The cluster answers %d requests/s of 32 callers through the gateway; the load of the scenarios \"50,000 requests\" is %d/s.", can, w.rate))
	for _, s := range [][]string{
		{"--strategy", "rolling"}, {"--strategy", "blue_green"}, {"--strategy", "canary", "--steps", "10:10s,25:10s,50:10s"},
	} {
		w.scenario(t, "50,000 requests: "+s[1], 2, func(t *testing.T, l *load) {
			w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Window = span(5 * time.Second) })
			rollouts := 0
			for sent := 0; sent < enough || rollouts%2 == 1; sent, _, _ = l.mark() {
				version, before := "1.1.0", "1.0.0"
				if rollouts%2 == 1 {
					version, before = before, version
				}
				w.follow(t, w.deploy(t, version, s...), v1alpha1.Deployed, long)
				rollouts++
				since := time.Now()
				w.eventually(t, time.Minute, "every answer is of "+version, func() bool {
					return l.last(version).After(since) && time.Since(l.last(before)) > 2*time.Second
				})
			}
			t.Logf("%d rollouts", rollouts)
			w.notes = append(w.notes, fmt.Sprintf("%s: %d rollouts, there and back.", s[1], rollouts))
		})
	}
}

// capacity returns how many requests per second 32 concurrent callers get answered.
func (w *world) capacity(t *testing.T) int {
	t.Helper()
	l := startLoad(t, w.key, "development.test", 1)
	defer l.end()
	const callers, span = 32, 5 * time.Second
	var answered atomic.Int64
	var wg sync.WaitGroup
	until := time.Now().Add(span)
	for n := range callers {
		wg.Go(func() {
			for i := n; time.Now().Before(until); i++ {
				if _, _, err := l.predict(i % len(l.rows)); err == nil {
					answered.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return int(float64(answered.Load()) / span.Seconds())
}
