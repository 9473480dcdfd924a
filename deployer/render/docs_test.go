package render_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// documented decodes a block of a page, which a comment names, strictly.
func documented(t *testing.T, page, name string, into any) {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "<!-- yaml: "+name+" -->\n```yaml\n")
	block, _, closed := strings.Cut(rest, "\n```\n")
	if !ok || !closed {
		t.Fatalf("%s has no block %s", page, name)
	}
	if err := yaml.UnmarshalStrict([]byte(block), into); err != nil {
		t.Fatalf("%s, block %s: %v", page, name, err)
	}
}

// TestDocumentedPod checks that `deploy render` takes the file of the page.
func TestDocumentedPod(t *testing.T) {
	p := render.GuidePlain("x:1")
	documented(t, "deployer.md", "pod", &p.Pod)
	p.Traces.Endpoint = "http://collector.tracing:4317"
	if err := p.Valid(); err != nil {
		t.Fatal(err)
	}
	if l := p.Pod.TopologySpreadConstraints[0].LabelSelector.MatchLabels; l["app.kubernetes.io/instance"] != p.Name {
		t.Errorf("the pods are spread by %v", l)
	}
}

// TestDocumentedFilling checks that the pods that fill the volume are restricted as all
// others, write to the claim of the manifests, and pull as the controller's pods do.
func TestDocumentedFilling(t *testing.T) {
	var job batchv1.Job
	documented(t, "deployer.md", "pull", &job)
	var pod corev1.Pod
	documented(t, "deployer.md", "copy", &pod)
	guide := render.GuidePlain("x:1")
	for name, s := range map[string]corev1.PodSpec{"the Job": job.Spec.Template.Spec, "the pod": pod.Spec} {
		restricted(t, name, s)
		claim := s.Volumes[0].PersistentVolumeClaim
		mount := s.Containers[0].VolumeMounts[0]
		if claim.ClaimName != guide.Name+"-models" || claim.ReadOnly || mount.ReadOnly || mount.Name != s.Volumes[0].Name || mount.MountPath != "/models" {
			t.Errorf("%s mounts %+v as %+v", name, claim, mount)
		}
		if s.AutomountServiceAccountToken == nil || *s.AutomountServiceAccountToken || *s.SecurityContext.FSGroup != 65532 {
			t.Errorf("%s: %+v", name, s)
		}
	}
	for name, namespace := range map[string]string{"the Job": job.Namespace, "the pod": pod.Namespace} {
		if namespace != guide.Namespace {
			t.Errorf("%s is in %s", name, namespace)
		}
	}
	md := &v1alpha1.ModelDeployment{}
	md.Name, md.Namespace = "cardio", "models"
	revision := v1alpha1.RevisionTemplate{
		Model: v1alpha1.ModelReference{ID: "cardio", Version: "1.0.0"}, Image: "registry.example.com/pynomaly-runtime:0.1.0",
		Source: v1alpha1.Source{Type: "oci", Reference: "registry.example.com/models/cardio:1.0.0"},
	}
	want := render.Deployment(md, "0123abcd", revision, 1, v1alpha1.Access{KeysSecret: "keys"}).Spec.Template.Spec.InitContainers[0]
	got := job.Spec.Template.Spec.Containers[0]
	if got.Image != want.Image {
		t.Errorf("the Job runs %s", got.Image)
	}
	for _, c := range []*corev1.Container{&got, &want} { // the directories differ
		c.Args[slices.Index(c.Args, "--models")+1] = "/models"
	}
	if !slices.Equal(got.Args, want.Args) {
		t.Errorf("the Job pulls with %q, pods with %q", got.Args, want.Args)
	}
}
