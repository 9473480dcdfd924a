//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// setup is what a scenario starts with.
type setup struct {
	pods    int
	version string   // 1.0.0 if empty
	flags   []string // of its deployment
	mayLose float64  // percent of the requests, where hosts crash
	load    func(*load)
}

// scenario runs a scenario under load, starting with version 1.0.0 served by the
// given number of pods.
func (w *world) scenario(t *testing.T, name string, pods int, run func(t *testing.T, l *load)) {
	w.situation(t, name, setup{pods: pods}, run)
}

// situation runs a scenario under load.
func (w *world) situation(t *testing.T, name string, s setup, run func(t *testing.T, l *load)) {
	t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
		start := time.Now()
		w.begin(t, s)
		l := newLoad(t, w.key, "development.test", "2.0.0", "3.0.0", "3.1.0", "3.2.0", "3.3.0", "3.4.0") // others round in another order
		if s.load != nil {
			s.load(l)
		}
		l.start(w.rate)
		line := row{scenario: name, verdict: "failed"}
		defer func() {
			l.end()
			line.sent, line.lost, line.took = l.sent, l.failed, time.Since(start)
			if !t.Failed() {
				line.verdict = "passed"
			}
			w.rows = append(w.rows, line)
		}()
		run(t, l)
		l.end()
		if float64(l.failed) > float64(l.sent)*s.mayLose/100 || l.sent == 0 {
			t.Errorf("%d of %d requests were lost: %s", l.failed, l.sent, strings.Join(l.lost, "; "))
		}
	})
}

// begin deploys the version that a scenario starts with, without what an earlier one
// has set.
func (w *world) begin(t *testing.T, s setup) {
	t.Helper()
	version := "1.0.0"
	if s.version != "" {
		version = s.version
	}
	var md v1alpha1.ModelDeployment
	if w.Get(context.Background(), client.ObjectKey{Namespace: namespace, Name: model}, &md) == nil {
		w.edit(t, func(d *v1alpha1.ModelDeploymentSpec) {
			d.Autoscaling, d.Paused, d.Strategy.Deadline, d.Template.Samples = nil, false, nil, 0
			d.Template.Resources.Limits = nil
		})
	}
	flags := []string{"--strategy", "direct", "--replicas", fmt.Sprint(s.pods), "--image", w.image, "--set", "MISBEHAVE=", "--set", "MISBEHAVE_AFTER=", "--set", "PYNOMALY_LOG_LEVEL="}
	base := w.deploy(t, version, append(flags, s.flags...)...)
	if p := w.phase(t, base); p != v1alpha1.Deployed {
		w.follow(t, base, v1alpha1.Deployed, 2*time.Minute)
	}
	w.eventually(t, time.Minute, "only "+version+" is there", func() bool {
		var all corev1.PodList
		if err := w.List(context.Background(), &all, client.InNamespace(namespace)); err != nil {
			t.Fatal(err)
		}
		return len(all.Items) == s.pods
	})
	w.eventually(t, time.Minute, "the gateway answers", func() bool { return answers("development.test") })
}

// misbehaving returns the flags of a deployment whose hosts do as misbehave/host says,
// and are good otherwise.
func misbehaving(faults string) []string {
	return []string{"--image", env("E2E_MISBEHAVING_IMAGE", "pynomaly-runtime:misbehaving"), "--set", "MISBEHAVE=" + faults}
}

// steps returns the flags of a canary with the given steps, and further flags.
func steps(text string, flags ...string) []string {
	return append([]string{"--strategy", "canary", "--steps", text}, flags...)
}

// answered waits until a version answers.
func (w *world) answered(t *testing.T, l *load, version string) {
	t.Helper()
	w.eventually(t, long, version+" answers", func() bool { return !l.last(version).IsZero() })
}

// only waits until a version answers every request.
func (w *world) only(t *testing.T, l *load, version string, others ...string) {
	t.Helper()
	since := time.Now()
	w.eventually(t, time.Minute, "every answer is of "+version, func() bool {
		return l.last(version).After(since) && !slices.ContainsFunc(others, func(v string) bool { return time.Since(l.last(v)) < 2*time.Second })
	})
}

// says waits until a deployment's status says something.
func (w *world) says(t *testing.T, id, what string) {
	t.Helper()
	var out string
	until := time.Now().Add(long)
	for !strings.Contains(out, what) {
		if time.Now().After(until) {
			t.Fatalf("the status of %s does not say %q:\n%s", id, what, out)
		}
		out = w.run(t, 0, "status", id)
		time.Sleep(100 * time.Millisecond)
	}
}

// deadline sets the deadline of the rollout; 0 is the default one.
func (w *world) deadline(t *testing.T, d time.Duration) {
	t.Helper()
	w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) {
		if s.Strategy.Deadline = span(d); d == 0 {
			s.Strategy.Deadline = nil
		}
	})
}

// shares records each share of traffic that the route gives a revision.
func (w *world) shares(t *testing.T, hash string) func() []int32 {
	t.Helper()
	var mu sync.Mutex
	var all []int32
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			watching, err := w.Watch(ctx, &gatewayv1.HTTPRouteList{}, client.InNamespace(namespace))
			if err != nil {
				continue
			}
			for event := range watching.ResultChan() {
				r, ok := event.Object.(*gatewayv1.HTTPRoute)
				if !ok || event.Type == watch.Deleted || len(r.Spec.Rules) == 0 {
					continue
				}
				share := int32(0)
				for _, b := range r.Spec.Rules[0].BackendRefs {
					if strings.HasSuffix(string(b.Name), hash) {
						share = *b.Weight
					}
				}
				mu.Lock()
				if len(all) == 0 || all[len(all)-1] != share {
					all = append(all, share)
				}
				mu.Unlock()
			}
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
	return func() []int32 {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// gaveUp checks that a version was given up, for a reason, before its share of traffic
// was above a step, and that 1.0.0 answers again.
func (w *world) gaveUp(t *testing.T, l *load, id, version, why string, most int32) {
	t.Helper()
	shares := w.shares(t, w.revision(t, id).Spec.Hash)
	w.follow(t, id, v1alpha1.Failed, 2*long)
	if m := w.revision(t, id).Status.Message; !strings.Contains(m, why) {
		t.Errorf("%s failed with %q, not of %q", id, m, why)
	}
	if all := shares(); len(all) > 0 && slices.Max(all) > most {
		t.Errorf("%s had the shares %v", id, all)
	}
	w.only(t, l, "1.0.0", version)
	if s := w.state(t).Status; s.Stable == s.Update {
		t.Errorf("%s is stable", id)
	}
	_, failed, versions := l.mark()
	t.Logf("%s; it answered %d requests, and %d were lost", w.revision(t, id).Status.Message, versions[version], failed)
}
