//go:build e2e

package e2e

import (
	"context"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestPolicies checks that an API server accepts the NetworkPolicies of all kinds of
// sources and adds no defaults that the controller would have to overwrite.
// Enforcing them is up to the network plugin.
func TestPolicies(t *testing.T) {
	w := connect(t)
	defer w.told(t, "TestPolicies")
	env := v1alpha1.EnvironmentSpec{Namespace: "default", Egress: []v1alpha1.Egress{{CIDR: "192.0.2.0/24", Ports: []int32{443}}, {Namespace: "tracing"}}}
	bounded := env
	bounded.RegistryAddresses = []string{"198.51.100.0/24", "2001:db8::/32"}
	for _, reference := range []string{"", "r.example.com/a:1", "r.example.com:5000/a:1", "192.0.2.7:5000/a:1", "[2001:db8::1]:5000/a:1"} {
		for _, e := range []v1alpha1.EnvironmentSpec{{}, env, bounded} {
			md := &v1alpha1.ModelDeployment{ObjectMeta: metav1.ObjectMeta{Name: "policies", Namespace: "default"}}
			source := v1alpha1.Source{Type: "image"}
			if reference != "" {
				source = v1alpha1.Source{Type: "oci", Reference: reference}
			}
			want := render.NetworkPolicy(md, system, &e, []v1alpha1.Source{source})
			got := want.DeepCopy()
			if err := w.Create(context.Background(), got, client.DryRunAll); err != nil {
				t.Errorf("%s: %v", reference, err)
			} else if !equality.Semantic.DeepEqual(got.Spec, want.Spec) {
				t.Errorf("%s: it became %+v, and was %+v", reference, got.Spec, want.Spec)
			}
		}
	}
	w.run(t, 0, "install", "--image", w.image, "--image-pull-policy", w.pull)
	for name, change := range map[string]func(*v1alpha1.EnvironmentSpec){
		"both": func(e *v1alpha1.EnvironmentSpec) {
			e.Egress = []v1alpha1.Egress{{CIDR: "192.0.2.0/24", Namespace: "x"}}
		},
		"neither":     func(e *v1alpha1.EnvironmentSpec) { e.Egress = []v1alpha1.Egress{{}} },
		"no CIDR":     func(e *v1alpha1.EnvironmentSpec) { e.Egress = []v1alpha1.Egress{{CIDR: "example.com"}} },
		"no CIDR two": func(e *v1alpha1.EnvironmentSpec) { e.RegistryAddresses = []string{"192.0.2.1"} },
	} {
		e := &v1alpha1.Environment{ObjectMeta: metav1.ObjectMeta{Name: "policies"}, Spec: env}
		change(&e.Spec)
		if err := w.Create(context.Background(), e, client.DryRunAll); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if err := w.Create(context.Background(), &v1alpha1.Environment{ObjectMeta: metav1.ObjectMeta{Name: "policies"}, Spec: bounded}, client.DryRunAll); err != nil {
		t.Error(err)
	}
	md := &v1alpha1.ModelDeployment{ObjectMeta: metav1.ObjectMeta{Name: "policies", Namespace: "default"}, Spec: v1alpha1.ModelDeploymentSpec{
		Environment: "development", Replicas: 1, Strategy: v1alpha1.Strategy{Type: v1alpha1.Direct},
		Template: v1alpha1.RevisionTemplate{Image: "x:1", Model: v1alpha1.ModelReference{ID: "policies", Version: "1.0.0"}, Source: v1alpha1.Source{Type: "oci", Reference: "r/a:1", AuthHosts: []string{"auth.example.com:444", "[2001:db8::1]"}}},
	}}
	if err := w.Create(context.Background(), md.DeepCopy(), client.DryRunAll); err != nil {
		t.Error(err)
	}
	md.Spec.Template.Source.AuthHosts = []string{"https://auth.example.com/token"}
	if err := w.Create(context.Background(), md, client.DryRunAll); err == nil || !strings.Contains(err.Error(), "authHosts") {
		t.Errorf("a URL: %v", err)
	}
}
