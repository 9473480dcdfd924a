package controller_test

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestNoKey checks that nothing begins while the controller has no key for the hosts,
// and that the status says what to do.
func TestNoKey(t *testing.T) {
	empty := keysSecret()
	empty.Data = nil
	b := newBench(t, empty, deployment(nil))
	if md := b.rounds(2); md.Status.Phase != v1alpha1.Pending || !strings.Contains(md.Status.Message, "deploy install") || b.ours() != 0 {
		t.Errorf("%+v", md.Status)
	}
	if err := b.Get(t.Context(), client.ObjectKeyFromObject(empty), empty); err != nil {
		t.Fatal(err)
	}
	empty.Data = keysSecret().Data
	if err := b.Update(t.Context(), empty); err != nil {
		t.Fatal(err)
	}
	if md := b.rounds(5); md.Status.Phase != v1alpha1.Deployed {
		t.Errorf("%+v", md.Status)
	}
}

// TestAccessFollows checks that pods have no key, that they follow the Environment's
// access, those of deployments of earlier versions as well, and that they stay as they
// are while the controller could not ask their successors.
func TestAccessFollows(t *testing.T) {
	b := newBench(t, deployment(func(md *v1alpha1.ModelDeployment) {
		md.Spec.Template.Config = map[string]string{"WORKERS": "2", "PYNOMALY_AUTH_ANONYMOUS": "admin", "PYNOMALY_SERVER_INSECURE": "true"}
	}))
	md := b.settle()
	pod := func() corev1.PodSpec {
		t.Helper()
		var d appsv1.Deployment
		b.get("cardio-"+md.Status.Stable, &d)
		return d.Spec.Template.Spec
	}
	if p := pod(); roleWithoutKey(t, p) != "viewer" || secretOf(p) != "pynomaly-keys" || len(p.Containers[0].Env) != 1 {
		t.Errorf("%+v", p)
	}
	set := func(a *v1alpha1.Access) {
		t.Helper()
		var env v1alpha1.Environment
		if err := b.Get(t.Context(), client.ObjectKey{Name: "development"}, &env); err != nil {
			t.Fatal(err)
		}
		env.Spec.Access = a
		if err := b.Update(t.Context(), &env); err != nil {
			t.Fatal(err)
		}
		b.rounds(2)
	}
	no := false
	set(&v1alpha1.Access{AnonymousPredict: &no, KeysSecret: "others"})
	if p := pod(); roleWithoutKey(t, p) != "" || secretOf(p) != "others" {
		t.Errorf("%+v", p)
	}
	var keys corev1.Secret
	if err := b.Get(t.Context(), client.ObjectKeyFromObject(keysSecret()), &keys); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(t.Context(), &keys); err != nil {
		t.Fatal(err)
	}
	set(nil)
	if p := pod(); secretOf(p) != "others" {
		t.Errorf("without a key: %+v", p)
	}
	if err := b.Create(t.Context(), keysSecret()); err != nil {
		t.Fatal(err)
	}
	var d appsv1.Deployment
	b.get("cardio-"+md.Status.Stable, &d)
	delete(d.Annotations, render.AnnotationAccess)
	d.Spec.Template.Spec.Volumes = nil
	if err := b.Update(t.Context(), &d); err != nil {
		t.Fatal(err)
	}
	if b.rounds(2); secretOf(pod()) != "pynomaly-keys" {
		t.Errorf("%+v", pod())
	}
}

// roleWithoutKey returns the role of callers without credentials.
func roleWithoutKey(t *testing.T, p corev1.PodSpec) string {
	t.Helper()
	args := p.Containers[0].Args
	i := slices.Index(args, "--auth-anonymous")
	if i < 0 || !slices.Contains(args, "--insecure=false") || args[slices.Index(args, "--auth-keys")+1] == "" {
		t.Fatalf("%q", args)
	}
	return args[i+1]
}

func secretOf(p corev1.PodSpec) string {
	for _, v := range p.Volumes {
		if v.Secret != nil {
			return v.Secret.SecretName
		}
	}
	return ""
}
