//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

const long = 3 * time.Minute

var canary = []string{"--strategy", "canary", "--steps", "10:5s,50:5s"}

// TestRollouts rolls out versions under load. The numbers are those of the scenarios
// in docs/deployer.md.
func TestRollouts(t *testing.T) {
	w := open(t)
	defer w.table(t)

	w.scenario(t, "2 canary promoted", 2, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", canary...)
		w.follow(t, id, v1alpha1.Deployed, long)
		w.eventually(t, time.Minute, "every answer is of 1.1.0", func() bool { return time.Since(l.last("1.0.0")) > 2*time.Second })
	})
	w.scenario(t, "rolling", 3, func(t *testing.T, l *load) {
		w.follow(t, w.deploy(t, "1.1.0", "--strategy", "rolling"), v1alpha1.Deployed, long)
		w.eventually(t, time.Minute, "every answer is of 1.1.0", func() bool { return time.Since(l.last("1.0.0")) > 2*time.Second })
	})
	w.scenario(t, "blue_green and back within its window", 2, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", "--strategy", "blue_green")
		w.follow(t, id, v1alpha1.Deployed, long)
		w.eventually(t, time.Minute, "every answer is of 1.1.0", func() bool { return time.Since(l.last("1.0.0")) > 2*time.Second })
		w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Window = span(5 * time.Second) })
		start := time.Now()
		w.run(t, 0, "rollback", id, "--reason", "a test")
		w.eventually(t, time.Minute, "every answer is of 1.0.0", func() bool { return l.last("1.0.0").After(start) && time.Since(l.last("1.1.0")) > 3*time.Second })
		w.notes = append(w.notes, fmt.Sprintf("blue_green switched back: the last answer of the new version came %v after the command.", l.last("1.1.0").Sub(start).Round(time.Millisecond)))
		w.follow(t, id, v1alpha1.RolledBack, time.Minute)
	})
	w.scenario(t, "3 gate failure rolls back", 2, func(t *testing.T, l *load) {
		id := w.deploy(t, "2.0.0", "--strategy", "canary", "--steps", "10:60s")
		w.follow(t, id, v1alpha1.Failed, long)
		if m := w.revision(t, id).Status.Message; !strings.Contains(m, "a gate failed") {
			t.Errorf("it failed with %q", m)
		}
		_, _, versions := l.mark()
		t.Logf("%s; 2.0.0 answered %d of %d", w.revision(t, id).Status.Message, versions["2.0.0"], l.sent)
		if out := w.run(t, 3, "deploy", model+"@2.0.0", "--env", "development", "--models", w.models, "--wait"); !strings.Contains(out, "gate") {
			t.Errorf("--wait printed %s", out)
		}
	})
	w.scenario(t, "4 abort, retry, promote", 2, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", "--strategy", "canary", "--steps", "30:2m")
		w.eventually(t, long, "1.1.0 answers", func() bool { return !l.last("1.1.0").IsZero() })
		start := time.Now()
		w.run(t, 0, "abort", id, "--reason", "a test")
		w.eventually(t, time.Minute, "1.1.0 has no traffic", func() bool { return time.Since(l.last("1.1.0")) > 3*time.Second })
		w.notes = append(w.notes, fmt.Sprintf("An abort took the traffic away: the last answer came %v after the command.", l.last("1.1.0").Sub(start).Round(time.Millisecond)))
		w.follow(t, id, v1alpha1.RolledBack, time.Minute)
		again := w.deploy(t, "1.1.0", "--strategy", "canary", "--steps", "30:0s:pause")
		if again == id {
			t.Fatalf("%s again", id)
		}
		w.follow(t, again, v1alpha1.Paused, long)
		w.run(t, 0, "resume", again, "--full", "--wait")
		w.follow(t, again, v1alpha1.Deployed, long)
	})
	w.scenario(t, "21 new pods unready mid-promotion", 2, func(t *testing.T, l *load) {
		// The image exists, but the model does not have the digest that the pods
		// must report.
		id := w.deploy(t, "1.1.0", "--strategy", "rolling", "--digest", "sha256:"+strings.Repeat("0", 64))
		w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Deadline = span(20 * time.Second) })
		w.follow(t, id, v1alpha1.Failed, long)
		if !l.last("1.1.0").IsZero() {
			t.Error("a pod answered that was not ready")
		}
	})
	w.scenario(t, "23 controller killed at every step", 2, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", "--strategy", "canary", "--steps", "10:3s,30:3s,60:3s")
		stop, done := make(chan struct{}), make(chan int)
		go func() {
			kills, last := 0, ""
			defer func() { done <- kills }()
			for {
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Millisecond):
				}
				var md v1alpha1.ModelDeployment
				if w.Get(context.Background(), client.ObjectKey{Namespace: namespace, Name: model}, &md) != nil {
					continue
				}
				now := md.Status.Rollout.State + string(rune('0'+md.Status.Rollout.Step))
				if now == last {
					continue
				}
				last = now
				var list corev1.PodList
				if w.List(context.Background(), &list, client.InNamespace("pynomaly-system")) != nil {
					continue
				}
				for i := range list.Items {
					if w.Delete(context.Background(), &list.Items[i], client.GracePeriodSeconds(0)) == nil {
						kills++
					}
				}
			}
		}()
		w.follow(t, id, v1alpha1.Deployed, 2*long)
		close(stop)
		if kills := <-done; kills < 6 {
			t.Errorf("only %d controllers were killed", kills)
		} else {
			t.Logf("%d controllers were killed", kills)
		}
		w.eventually(t, time.Minute, "the controllers are back", func() bool { return len(w.controllers(t)) == 2 })
	})
}
