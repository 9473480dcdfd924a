package controller

import (
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
)

// crashesOf returns how often the host of a pod has ended with an error and was
// started again. A host that ended with its node, or without an error, has not
// crashed.
func crashesOf(p *corev1.Pod) int32 {
	i := slices.IndexFunc(p.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool { return c.Name == render.ContainerName })
	if i < 0 {
		return 0
	}
	c := &p.Status.ContainerStatuses[i]
	last := c.LastTerminationState.Terminated
	if last == nil || last.ExitCode == 0 || last.Reason == "ContainerStatusUnknown" || last.Reason == "Unknown" {
		return 0
	}
	return c.RestartCount
}

// oomKilled reports whether the host of a pod ended last because it had used up its
// memory.
func oomKilled(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool {
		return c.Name == render.ContainerName && c.LastTerminationState.Terminated != nil && c.LastTerminationState.Terminated.Reason == "OOMKilled"
	})
}

// limitOf says how much memory a container may use, or "".
func limitOf(p *corev1.Pod, container string) string {
	for i := range p.Spec.Containers {
		if c := &p.Spec.Containers[i]; c.Name == container && !c.Resources.Limits.Memory().IsZero() {
			return " of " + c.Resources.Limits.Memory().String()
		}
	}
	return ""
}

// withoutPods returns why a Deployment cannot make its pods, such as a quota, or "".
func withoutPods(d *appsv1.Deployment) string {
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			return c.Reason + ": " + c.Message
		}
	}
	return ""
}

// lastWords returns why a program says that it ended, in one line: from its error or its
// panic on, or else its last line.
func lastWords(log string) string {
	last := ""
	for line := range strings.Lines(log) {
		for _, prefix := range []string{"Error: ", "panic: ", "fatal error: "} {
			if strings.HasPrefix(line, prefix) {
				_, rest, _ := strings.Cut(log, line)
				return strings.Join(strings.Fields(line+rest), " ")
			}
		}
		if line = strings.TrimSpace(line); line != "" {
			last = line
		}
	}
	return last
}
