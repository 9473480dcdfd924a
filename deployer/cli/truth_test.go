package cli

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/pynomaly/pynomaly-runtime/deployer/controller"
	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestGivenUp checks that a request makes another attempt if the last one was given
// up, if it is being given up, and if nobody has obeyed its abort yet.
func TestGivenUp(t *testing.T) {
	template := v1alpha1.RevisionTemplate{Model: v1alpha1.ModelReference{ID: "cardio", Version: "1.0.0"}, Image: "x:1"}
	hash, err := render.Hash(template)
	if err != nil {
		t.Fatal(err)
	}
	status := func(stable, update, aborted, phase string) v1alpha1.ModelDeploymentStatus {
		return v1alpha1.ModelDeploymentStatus{Stable: stable, Update: update, Phase: phase, Rollout: v1alpha1.Rollout{Aborted: aborted}}
	}
	for name, c := range map[string]struct {
		status v1alpha1.ModelDeploymentStatus
		abort  string
		want   bool
	}{
		"it failed":                  {status: status("a", hash, hash, v1alpha1.Failed), want: true},
		"it goes back":               {status: status("a", hash, hash, v1alpha1.RollingBack), want: true},
		"nobody has obeyed":          {status: status("a", hash, "", v1alpha1.Deploying), abort: hash, want: true},
		"it goes on":                 {status: status("a", hash, "", v1alpha1.Deploying)},
		"it serves":                  {status: status(hash, hash, "", v1alpha1.Deployed)},
		"it serves, another failed":  {status: status(hash, "b", "b", v1alpha1.Failed)},
		"it serves after an abort":   {status: status(hash, hash, "", v1alpha1.Deployed), abort: hash},
		"a first one that was given": {status: status("", hash, hash, v1alpha1.RolledBack), want: true},
	} {
		md := &v1alpha1.ModelDeployment{Status: c.status, Spec: v1alpha1.ModelDeploymentSpec{Abort: c.abort}}
		if got, err := givenUp(md, template); err != nil || got != c.want {
			t.Errorf("%s: %t, %v", name, got, err)
		}
	}
}

// TestInterrupted checks that a signal and --timeout are told apart.
func TestInterrupted(t *testing.T) {
	scheme, err := controller.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	md := &v1alpha1.ModelDeployment{ObjectMeta: metav1.ObjectMeta{Name: "cardio", Namespace: "x"}, Status: v1alpha1.ModelDeploymentStatus{Update: "b", Phase: v1alpha1.Deploying}}
	rev := &v1alpha1.ModelRevision{ObjectMeta: metav1.ObjectMeta{Name: "cardio-2", Namespace: "x"}, Spec: v1alpha1.ModelRevisionSpec{Hash: "b"}}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(md, rev).WithStatusSubresource(md, rev).Build()
	for name, code := range map[string]int{"signal": ExitInterrupted, "timeout": ExitTimeout} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var out bytes.Buffer
			a := &app{Options: Options{Out: &out, Err: &out, Now: time.Now}, timeout: time.Hour}
			if name == "signal" {
				cancel()
			} else {
				a.timeout = time.Nanosecond
			}
			var exit *ExitError
			if err := a.watch(ctx, c, md.DeepCopy(), rev.DeepCopy(), "cardio-x-2"); !errors.As(err, &exit) || exit.Code != code {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestExpired checks that an expired client certificate is named.
func TestExpired(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "alice"}, NotAfter: now}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &rest.Config{TLSClientConfig: rest.TLSClientConfig{CertData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}}
	if err := expired(cfg, now.Add(-time.Hour)); err != nil {
		t.Error(err)
	}
	if err := expired(cfg, now.Add(time.Hour)); err == nil || !strings.Contains(err.Error(), "(alice) expired at 2026-01-01T00:00:00Z") {
		t.Errorf("%v", err)
	}
	if err := expired(&rest.Config{}, now); err != nil {
		t.Error(err)
	}
}

// TestReady checks that the table says how many pods are ready, of what serves and of
// what arrives.
func TestReady(t *testing.T) {
	md := &v1alpha1.ModelDeployment{Status: v1alpha1.ModelDeploymentStatus{
		Stable: "a", Update: "b", Serving: &v1alpha1.PodCount{Ready: 2, Wanted: 3}, Arriving: &v1alpha1.PodCount{Ready: 0, Wanted: 1},
		Conditions: []metav1.Condition{{Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue, Message: "the controller tries again: no verb"}},
	}}
	for hash, want := range map[string]string{"a": "2/3", "b": "0/1", "c": "-"} {
		d := summary(&v1alpha1.ModelRevision{Spec: v1alpha1.ModelRevisionSpec{Hash: hash}}, md)
		if got := d.ready(); got != want {
			t.Errorf("%s: %q, want %q", hash, got, want)
		}
		var out bytes.Buffer
		if err := describe(&out, d); err != nil {
			t.Fatal(err)
		}
		if says := strings.Contains(out.String(), "no verb"); says != (hash == "b") {
			t.Errorf("%s: %s", hash, out.String())
		}
	}
}
