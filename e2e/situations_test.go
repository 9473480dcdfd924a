//go:build e2e

package e2e

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestSituations rolls out good versions in situations that are no reason to give them
// up.
func TestSituations(t *testing.T) {
	w := open(t, busy)
	defer w.table(t)
	w.scenario(t, "a hold longer than the deadline", 2, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", steps("20:25s")...)
		w.answered(t, l, "1.1.0")
		w.deadline(t, 5*time.Second)
		begun := time.Now()
		w.eventually(t, time.Minute, "three deadlines have passed", func() bool { return time.Since(begun) > 15*time.Second })
		w.deadline(t, 0) // the pods that come next may take longer to start
		w.follow(t, id, v1alpha1.Deployed, long)
	})
	w.scenario(t, "staging changes in the middle of a canary", 2, w.staging)
	w.scenario(t, "a stable pod deleted at 10 percent", 2, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", steps("10:0s:pause")...)
		shares := w.shares(t, w.revision(t, id).Spec.Hash)
		w.follow(t, id, v1alpha1.Paused, long)
		pods := w.pods(t, w.state(t).Status.Stable)
		if err := w.Delete(context.Background(), &pods[0]); err != nil {
			t.Fatal(err)
		}
		w.replaced(t, pods[0].Name, 2)
		if all := shares(); slices.Max(all) != 10 {
			t.Errorf("the shares were %v", all)
		}
		w.run(t, 0, "resume", id, "--wait")
	})
}

// replaced waits until stable has a number of ready pods without the named one.
func (w *world) replaced(t *testing.T, name string, pods int) {
	t.Helper()
	w.eventually(t, long, name+" is replaced", func() bool {
		now := w.pods(t, w.state(t).Status.Stable)
		return len(now) == pods && !slices.ContainsFunc(now, func(p corev1.Pod) bool { return p.Name == name || !isReady(p) })
	})
}

// staging makes development accept only what runs in staging, and changes staging in the
// middle of a rollout.
func (w *world) staging(t *testing.T, l *load) {
	const there = "pynomaly-staging"
	ctx := context.Background()
	deploy := func(version string) {
		t.Helper()
		w.run(t, 0, "deploy", model+"@"+version, "--env", "staging", "--models", w.models, "--strategy", "direct", "--replicas", "1", "--wait")
	}
	deploy("1.1.0")
	w.environment(t, func(e *v1alpha1.EnvironmentSpec) { e.PromotesFrom = "staging" })
	defer func() {
		w.environment(t, func(e *v1alpha1.EnvironmentSpec) { e.PromotesFrom = "" })
		_ = w.DeleteAllOf(ctx, &v1alpha1.ModelDeployment{}, client.InNamespace(there))
	}()
	id := w.deploy(t, "1.1.0", steps("20:20s,50:5s")...)
	shares := w.shares(t, w.revision(t, id).Spec.Hash)
	w.answered(t, l, "1.1.0")
	if err := w.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(there)); err != nil {
		t.Fatal(err)
	}
	deploy("1.2.0")
	w.follow(t, id, v1alpha1.Deployed, long)
	if all := shares(); !slices.IsSorted(all) {
		t.Errorf("the shares were %v", all)
	}
	// It still stops what has not begun.
	w.says(t, w.deploy(t, "1.3.0", steps("20:5s")...), "does not run in staging")
}

// TestCommands checks what the commands say and how they end.
func TestCommands(t *testing.T) {
	w := open(t, busy)
	defer w.table(t)
	w.scenario(t, "the status says why", 2, w.why)
	w.scenario(t, "deployed again right after an abort", 2, w.again)
	w.scenario(t, "a command ended by Ctrl-C", 2, func(t *testing.T, l *load) {
		cmd := exec.Command(w.binary, append([]string{"deploy", "deploy", model + "@1.1.0", "--env", "development", "--models", w.models, "--wait"}, steps("30:5s")...)...)
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w.answered(t, l, "1.1.0")
		_ = cmd.Process.Signal(syscall.SIGINT)
		if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 130 || strings.Contains(out.String(), "30m0s") || !strings.Contains(out.String(), "the rollout continues") {
			t.Errorf("exit code %d: %s", cmd.ProcessState.ExitCode(), out.String())
		}
		w.eventually(t, long, "the rollout has gone on", func() bool {
			s := w.state(t).Status
			return s.Phase == v1alpha1.Deployed && s.Stable == s.Update
		})
	})
	t.Run("ids_after_a_deployment_was_deleted", func(t *testing.T) { w.numbers(t) })
}

// again deploys and rolls back again what was given up a moment before.
func (w *world) again(t *testing.T, l *load) {
	first := w.deploy(t, "1.1.0", steps("30:2m")...)
	w.answered(t, l, "1.1.0")
	w.run(t, 0, "abort", first)
	second := w.deploy(t, "1.1.0", steps("30:3s")...)
	if second == first {
		t.Errorf("%s was swallowed", second)
	}
	w.follow(t, second, v1alpha1.Deployed, long)
	w.follow(t, first, v1alpha1.RolledBack, time.Minute)
	w.run(t, 0, "rollback", second, "--wait")
	if _, errs, code := w.try(t, "rollback", second); code != 1 || !strings.Contains(errs, "does not serve") {
		t.Errorf("a second rollback: exit code %d: %s", code, errs)
	}
	if _, errs, code := w.try(t, "abort", second); code != 1 || !strings.Contains(errs, "is not being rolled out") {
		t.Errorf("an abort after the end: exit code %d: %s", code, errs)
	}
	w.only(t, l, "1.0.0", "1.1.0")
	if out, _, code := w.try(t, "deploy", model+"@2.1.0", "--env", "development", "--models", w.models, "--wait", "--timeout", "2s"); code != 5 {
		t.Errorf("--timeout: exit code %d: %s", code, out)
	}
	w.deadline(t, 10*time.Second)
	w.run(t, 3, "deploy", model+"@2.1.0", "--env", "development", "--models", w.models, "--wait")
}

// numbers checks that a deployment that is made again continues to count its revisions.
func (w *world) numbers(t *testing.T) {
	before := w.state(t).Status.Number
	if err := w.Delete(context.Background(), w.state(t)); err != nil {
		t.Fatal(err)
	}
	w.eventually(t, time.Minute, "the record is gone", func() bool { return len(w.revisions(t)) == 0 })
	id := w.deploy(t, "1.0.0", "--strategy", "direct", "--replicas", "1")
	w.follow(t, id, v1alpha1.Deployed, long)
	if after := w.state(t).Status.Number; after <= before {
		t.Errorf("after %s-development-%d there is %s again", model, before, id)
	}
}
