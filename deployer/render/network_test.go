package render_test

import (
	"fmt"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// words returns a policy's rules: peers and ports.
func words(t *testing.T, p *networkingv1.NetworkPolicy) (ingress, egress string) {
	t.Helper()
	if fmt.Sprint(p.Spec.PolicyTypes) != "[Ingress Egress]" {
		t.Errorf("it bounds %v alone", p.Spec.PolicyTypes)
	}
	say := func(peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) string {
		var to, at []string
		for _, p := range peers {
			switch {
			case p.IPBlock != nil && len(p.IPBlock.Except) > 0:
				to = append(to, p.IPBlock.CIDR+" without "+strings.Join(p.IPBlock.Except, " "))
			case p.IPBlock != nil:
				to = append(to, p.IPBlock.CIDR)
			default:
				to = append(to, p.NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"])
			}
		}
		for _, p := range ports {
			at = append(at, fmt.Sprint(*p.Protocol, p.Port.IntValue()))
		}
		if len(to) == 0 {
			t.Error("a rule without peers admits everybody")
		}
		return strings.Join(to, ",") + ":" + strings.Join(at, ",")
	}
	var in, out []string
	for _, r := range p.Spec.Ingress {
		in = append(in, say(r.From, r.Ports))
	}
	for _, r := range p.Spec.Egress {
		out = append(out, say(r.To, r.Ports))
	}
	return strings.Join(in, "; "), strings.Join(out, "; ")
}

func TestNetworkPolicy(t *testing.T) {
	oci := func(reference string) v1alpha1.Source { return v1alpha1.Source{Type: "oci", Reference: reference} }
	const dns = "kube-system,169.254.20.10/32:UDP53,TCP53"
	const anywhere = "0.0.0.0/0 without 169.254.0.0/16,::/0 without fe80::/10 fd00:ec2::254/128"
	for name, c := range map[string]struct {
		env     v1alpha1.EnvironmentSpec
		sources []v1alpha1.Source
		want    string
	}{
		"models of the image":   {sources: []v1alpha1.Source{{}, {Type: "image"}, {Type: "pvc", Claim: "x"}}},
		"a registry":            {sources: []v1alpha1.Source{oci("r.example.com/a:1")}, want: dns + "; " + anywhere + ":TCP443"},
		"one twice":             {sources: []v1alpha1.Source{oci("r.example.com/a:1"), oci("r.example.com/a:2")}, want: dns + "; " + anywhere + ":TCP443"},
		"its port":              {sources: []v1alpha1.Source{oci("r.example.com:5000/a:1")}, want: dns + "; " + anywhere + ":TCP5000,TCP443"},
		"its address":           {sources: []v1alpha1.Source{{Type: "oci", Reference: "192.0.2.1:5000/a:1", PlainHTTP: true}}, want: dns + "; 192.0.2.1/32:TCP5000"},
		"its IPv6 address":      {sources: []v1alpha1.Source{oci("[2001:db8::1]:5000/a:1")}, want: dns + "; 2001:db8::1/128:TCP5000,TCP443"},
		"plain HTTP":            {sources: []v1alpha1.Source{{Type: "oci", Reference: "r.example.com/a:1", PlainHTTP: true}}, want: dns + "; " + anywhere + ":TCP80"},
		"addresses that it has": {env: v1alpha1.EnvironmentSpec{RegistryAddresses: []string{"192.0.2.0/24"}}, sources: []v1alpha1.Source{oci("r.example.com/a:1")}, want: dns + "; 192.0.2.0/24:TCP443"},
		"an address among them": {env: v1alpha1.EnvironmentSpec{RegistryAddresses: []string{"192.0.2.0/24"}}, sources: []v1alpha1.Source{oci("192.0.2.7/a:1")}, want: dns + "; 192.0.2.7/32:TCP443"},
		"one that is not":       {env: v1alpha1.EnvironmentSpec{RegistryAddresses: []string{"192.0.2.0/24"}}, sources: []v1alpha1.Source{oci("198.51.100.1/a:1")}, want: dns},
		"where credentials are": {sources: []v1alpha1.Source{{Type: "oci", Reference: "169.254.169.254/a:1", PlainHTTP: true}, oci("[::ffff:169.254.169.254]/a:1"), oci("[fe80::1%1]/a:1"), oci("[fd00:ec2::254]/a:1")}, want: dns},
		"an IPv4 address in 6":  {sources: []v1alpha1.Source{oci("[::ffff:192.0.2.1]/a:1")}, want: dns + "; 192.0.2.1/32:TCP443"},
		"what is listed":        {env: v1alpha1.EnvironmentSpec{Egress: []v1alpha1.Egress{{CIDR: "192.0.2.0/24", Ports: []int32{80, 81}}, {Namespace: "tracing"}}}, want: "192.0.2.0/24:TCP80,TCP81; tracing:"},
		"nothing is listed":     {env: v1alpha1.EnvironmentSpec{Egress: []v1alpha1.Egress{{}}}},
	} {
		t.Run(name, func(t *testing.T) {
			md := &v1alpha1.ModelDeployment{ObjectMeta: metav1.ObjectMeta{Name: "m", Namespace: "models"}}
			in, out := words(t, render.NetworkPolicy(md, "system", &c.env, c.sources))
			if in != "models,monitoring,system:TCP8080" || out != c.want {
				t.Errorf("it admits %q, and lets out %q, want %q", in, out, c.want)
			}
		})
	}
}

// TestAdmitNobody checks that an empty list admits nobody, not everybody.
func TestAdmitNobody(t *testing.T) {
	p := render.GuidePlain("x:1")
	for _, admit := range [][]string{nil, {}} {
		p.Admit = admit
		for _, o := range p.Objects() {
			if n, ok := o.(*networkingv1.NetworkPolicy); ok {
				if in, out := words(t, n); in != "" || out != "" {
					t.Errorf("it admits %q, and lets out %q", in, out)
				}
			}
		}
	}
	md := &v1alpha1.ModelDeployment{ObjectMeta: metav1.ObjectMeta{Name: "m", Namespace: "models"}}
	md.Spec.Traffic = v1alpha1.Traffic{Admit: []string{}, Gateway: &v1alpha1.GatewayReference{Name: "web", Namespace: "gateway"}}
	if in, _ := words(t, render.NetworkPolicy(md, "system", &v1alpha1.EnvironmentSpec{}, nil)); in != "gateway,models,monitoring,system:TCP8080" {
		t.Errorf("it admits %q", in)
	}
}
