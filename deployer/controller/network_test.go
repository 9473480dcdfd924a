package controller_test

import (
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestNetworkFollows checks that a policy follows its inputs when they grow and when
// they shrink.
func TestNetworkFollows(t *testing.T) {
	b := newBench(t, deployment(nil))
	sizes := func() (from, to int) {
		t.Helper()
		b.rounds(4)
		var n networkingv1.NetworkPolicy
		b.get("cardio", &n)
		return len(n.Spec.Ingress[0].From), len(n.Spec.Egress)
	}
	var env v1alpha1.Environment
	set := func(admit []string, egress []v1alpha1.Egress) {
		t.Helper()
		var md v1alpha1.ModelDeployment
		b.get("cardio", &md)
		md.Spec.Traffic.Admit = admit
		if err := b.Update(t.Context(), &md); err != nil {
			t.Fatal(err)
		}
		if err := b.Get(t.Context(), client.ObjectKey{Name: "development"}, &env); err != nil {
			t.Fatal(err)
		}
		env.Spec.Egress = egress
		if err := b.Update(t.Context(), &env); err != nil {
			t.Fatal(err)
		}
	}
	from, to := sizes()
	if to != 0 {
		t.Errorf("pods may connect to %d things", to)
	}
	set([]string{"zz"}, []v1alpha1.Egress{{CIDR: "192.0.2.0/24"}})
	if f, g := sizes(); f != from+1 || g != 1 {
		t.Errorf("wider: %d, %d", f, g)
	}
	set(nil, nil)
	if f, g := sizes(); f != from || g != 0 {
		t.Errorf("narrower: %d, %d", f, g)
	}
}
