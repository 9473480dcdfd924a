package controller

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
)

// TestCrashes checks which restarts of containers are crashes of hosts.
func TestCrashes(t *testing.T) {
	ended := func(code int32, reason string) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason}}
	}
	for what, c := range map[string]struct {
		name string
		last corev1.ContainerState
		want int32
	}{
		"none":             {render.ContainerName, corev1.ContainerState{}, 0},
		"an error":         {render.ContainerName, ended(2, "Error"), 3},
		"no memory":        {render.ContainerName, ended(137, "OOMKilled"), 3},
		"without an error": {render.ContainerName, ended(0, "Completed"), 0},
		"with its node":    {render.ContainerName, ended(255, "Unknown"), 0},
		"another one":      {"proxy", ended(2, "Error"), 0},
	} {
		p := &corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: c.name, RestartCount: 3, LastTerminationState: c.last}}}}
		if got, want := oomKilled(p), what == "no memory"; got != want {
			t.Errorf("%s: for lack of memory: %t", what, got)
		}
		if got := crashesOf(p); got != c.want {
			t.Errorf("%s: %d, want %d", what, got, c.want)
		}
	}
	if crashesOf(&corev1.Pod{}) != 0 {
		t.Error("a pod without containers has crashed")
	}
}

// TestWithoutPods checks that a Deployment which cannot make pods says why.
func TestWithoutPods(t *testing.T) {
	d := &appsv1.Deployment{Status: appsv1.DeploymentStatus{Conditions: []appsv1.DeploymentCondition{
		{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue},
		{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate", Message: "exceeded quota: pods"},
	}}}
	if got := withoutPods(d); got != "FailedCreate: exceeded quota: pods" {
		t.Errorf("%q", got)
	}
	if got := withoutPods(&appsv1.Deployment{}); got != "" {
		t.Errorf("%q", got)
	}
}

// TestProblem checks that the status says in one line why a host ended.
func TestProblem(t *testing.T) {
	for what, c := range map[string]struct{ reason, log, want string }{
		"an error":            {"Error", `Error: log.level: is "shrill"` + "\n", `model-server: Error: log.level: is "shrill"`},
		"an error of lines":   {"Error", "{\"level\":\"info\"}\nError: the port\n  is taken\n", "model-server: Error: the port is taken"},
		"a panic":             {"Error", "{\"level\":\"info\"}\npanic: out of cheese\n\ngoroutine 1 [running]:\nmain.main()\n", "model-server: panic: out of cheese goroutine 1 [running]: main.main()"},
		"something else":      {"Error", "{\"level\":\"info\"}\nkilled\n\n", "model-server: killed"},
		"nothing":             {"Error", "", "CrashLoopBackOff: 10s"},
		"no memory":           {"OOMKilled", "{\"level\":\"info\"}\n", "OOMKilled: the container needs more memory than its limit"},
		"no memory or a word": {"OOMKilled", "", "OOMKilled: the container needs more memory than its limit"},
	} {
		p := &corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			Name: render.ContainerName, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "10s"}},
			LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Reason: c.reason, Message: c.log}},
		}}}}
		if got := problemOf(p); got != c.want {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
}
