package controller_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/deployer/controller"
	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestSamplesToken checks that a deployment's token opens the samples of its own
// hosts, and that neither another deployment's token, nor what pods are given, nor
// the secret does.
func TestSamplesToken(t *testing.T) {
	secret := samplesSecret().Data[render.SamplesKey]
	token := render.SamplesToken(secret, ns, "cardio")
	b := newBench(t, samplesSecret(), deployment(func(md *v1alpha1.ModelDeployment) { md.Spec.Template.Samples = 10 }))
	md := b.settle()
	var d appsv1.Deployment
	b.get("cardio-"+md.Status.Stable, &d)
	sum, given := sha256.Sum256([]byte(token)), ""
	for _, c := range append(d.Spec.Template.Spec.Containers, d.Spec.Template.Spec.InitContainers...) {
		for _, e := range c.Env {
			if e.ValueFrom != nil {
				t.Errorf("%s is given %s from elsewhere", c.Name, e.Name)
			}
			if e.Name == "PYNOMALY_SERVER_SAMPLES_TOKEN_SHA256" {
				given = e.Value
			}
			if strings.Contains(e.Value, token) || strings.Contains(e.Value, string(secret)) {
				t.Errorf("%s is given a secret: %s", c.Name, e.Name)
			}
		}
	}
	if given != hex.EncodeToString(sum[:]) {
		t.Fatalf("pods are given %q", given)
	}
	dir := t.TempDir()
	testkit.CopyModel(t, dir, "pima-lof", "pima", "1.0.0", nil)
	h := testkit.Serve(t, testkit.Options{Dir: dir, REST: func(c *rest.Config) { c.Samples, c.SamplesTokenSHA256 = 10, given }})
	hosts := controller.Hosts{Client: controller.HostClient()}
	address := strings.TrimPrefix(h.URL, "http://")
	if _, err := hosts.Samples(t.Context(), address, "pima", "1.0.0", token, 0, 10); err != nil {
		t.Errorf("its own: %v", err)
	}
	for what, other := range map[string]string{
		"what pods are given": given, "the secret": string(secret), "another deployment's": render.SamplesToken(secret, ns, "cardio2"),
		"another namespace's": render.SamplesToken(secret, "pynomaly-staging", "cardio"), "none": " ",
	} {
		if _, err := hosts.Samples(t.Context(), address, "pima", "1.0.0", other, 0, 10); err == nil || !strings.Contains(err.Error(), http.StatusText(http.StatusUnauthorized)) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestNoSamplesSecret checks that nothing begins without the secret, and that the
// status says what to do.
func TestNoSamplesSecret(t *testing.T) {
	b := newBench(t, deployment(func(md *v1alpha1.ModelDeployment) { md.Spec.Template.Samples = 10 }))
	if md := b.rounds(2); md.Status.Phase != v1alpha1.Pending || !strings.Contains(md.Status.Message, "deploy install") || b.ours() != 0 {
		t.Errorf("%+v", md.Status)
	}
	if err := b.Create(t.Context(), samplesSecret()); err != nil {
		t.Fatal(err)
	}
	if md := b.rounds(5); md.Status.Phase != v1alpha1.Deployed {
		t.Errorf("%+v", md.Status)
	}
}
