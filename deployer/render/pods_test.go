package render_test

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestLastWords checks that the status of a revision's pods shows the last words of a host
// and of a pull that ended with an error.
func TestLastWords(t *testing.T) {
	md := &v1alpha1.ModelDeployment{}
	md.Name, md.Namespace = "cardio", "models"
	revision := v1alpha1.RevisionTemplate{Model: v1alpha1.ModelReference{ID: "cardio", Version: "1.0.0"}, Image: "x:1", Source: v1alpha1.Source{Type: "oci", Reference: "registry.example.com/cardio:1"}}
	p := render.Deployment(md, "0123abcd", revision, 1, v1alpha1.Access{KeysSecret: "keys"}).Spec.Template.Spec
	for _, c := range append(p.InitContainers, p.Containers...) {
		if c.TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError {
			t.Errorf("%s: %q", c.Name, c.TerminationMessagePolicy)
		}
	}
}

// TestPodsAreRestricted checks that every pod meets the restricted level of the Pod
// Security Standards, and that pods of hosts have no token of the API server.
func TestPodsAreRestricted(t *testing.T) {
	md := &v1alpha1.ModelDeployment{}
	md.Name, md.Namespace = "cardio", "models"
	of := func(source v1alpha1.Source) corev1.PodSpec {
		revision := v1alpha1.RevisionTemplate{Model: v1alpha1.ModelReference{ID: "cardio", Version: "1.0.0"}, Image: "x:1", Source: source}
		return render.Deployment(md, "0123abcd", revision, 1, v1alpha1.Access{KeysSecret: "keys"}).Spec.Template.Spec
	}
	pods := map[string]corev1.PodSpec{
		"a revision from its image":  of(v1alpha1.Source{Type: "image"}),
		"a revision from a volume":   of(v1alpha1.Source{Type: "pvc", Claim: "models"}),
		"a revision from a registry": of(v1alpha1.Source{Type: "oci", Reference: "registry.example.com/cardio:1"}),
	}
	for _, o := range render.GuidePlain("x:1").Objects() {
		if d, ok := o.(*appsv1.Deployment); ok {
			pods["the guide's"] = d.Spec.Template.Spec
		}
	}
	const controller = "the controller"
	for _, o := range (render.System{Namespace: "pynomaly", Image: "x:1", Replicas: 1}).Objects() {
		if d, ok := o.(*appsv1.Deployment); ok {
			pods[controller] = d.Spec.Template.Spec
		}
	}
	if len(pods) != 5 {
		t.Fatalf("%d pods", len(pods))
	}
	for name, p := range pods {
		if automount := p.AutomountServiceAccountToken; name != controller && (automount == nil || *automount) {
			t.Errorf("%s has a token of the API server", name)
		}
		restricted(t, name, p)
	}
}

func restricted(t *testing.T, name string, p corev1.PodSpec) {
	t.Helper()
	s := p.SecurityContext
	if s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("%s: %+v", name, s)
	}
	if p.HostNetwork || p.HostPID || p.HostIPC {
		t.Errorf("%s shares namespaces with the node", name)
	}
	for _, v := range p.Volumes {
		if v.HostPath != nil {
			t.Errorf("%s mounts %s of the node", name, v.HostPath.Path)
		}
	}
	for _, c := range append(p.InitContainers, p.Containers...) {
		s := c.SecurityContext
		if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.Privileged != nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem ||
			s.Capabilities == nil || len(s.Capabilities.Add) > 0 || len(s.Capabilities.Drop) != 1 || s.Capabilities.Drop[0] != "ALL" {
			t.Errorf("%s, container %s: %+v", name, c.Name, s)
		}
	}
}
