package render

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// NetworkPolicy limits who may connect to a deployment's pods and where these may
// connect. It admits the namespaces of the Gateway, of monitoring, of the
// controller, of the deployment itself, and those that the deployment names. Pods
// may connect to what the Environment lists and, if a source is a registry, to that
// registry and to DNS.
func NetworkPolicy(md *v1alpha1.ModelDeployment, controller string, env *v1alpha1.EnvironmentSpec, sources []v1alpha1.Source) *networkingv1.NetworkPolicy {
	admit := append([]string{md.Namespace, controller, "monitoring"}, md.Spec.Traffic.Admit...)
	if g := md.Spec.Traffic.Gateway; g != nil && g.Namespace != "" {
		admit = append(admit, g.Namespace)
	}
	slices.Sort(admit)
	p := Plain{Admit: slices.Compact(admit), Pod: Pod{Egress: egress(env, sources)}}.networkPolicy()
	p.ObjectMeta = meta(md, md.Name, "")
	p.Spec.PodSelector = metav1.LabelSelector{MatchLabels: selector(md, "")}
	return p
}

// networkPolicy sets all defaults of the API server, so that the result can be
// compared with the stored object. A rule without namespaces would admit everybody,
// so it is omitted.
func (p Plain) networkPolicy() *networkingv1.NetworkPolicy {
	n := &networkingv1.NetworkPolicy{
		TypeMeta: typed("NetworkPolicy", "networking.k8s.io/v1"), ObjectMeta: p.meta(""),
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: p.selector()},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
			Egress:      p.Pod.Egress,
		},
	}
	if len(p.Admit) > 0 {
		rule := networkingv1.NetworkPolicyIngressRule{Ports: ports(corev1.ProtocolTCP, Port)}
		for _, name := range p.Admit {
			rule.From = append(rule.From, inNamespace(name))
		}
		n.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{rule}
	}
	return n
}

func inNamespace(name string) networkingv1.NetworkPolicyPeer {
	return networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: name}}}
}

func ports(protocol corev1.Protocol, numbers ...int32) []networkingv1.NetworkPolicyPort {
	out := make([]networkingv1.NetworkPolicyPort, len(numbers))
	for i, n := range numbers {
		out[i] = networkingv1.NetworkPolicyPort{Protocol: ptr(protocol), Port: ptr(intstr.FromInt32(n))}
	}
	return out
}

func addresses(cidr string, except ...string) networkingv1.NetworkPolicyPeer {
	return networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: cidr, Except: except}}
}

// localDNS is the address of NodeLocal DNSCache on each node.
const localDNS = "169.254.20.10/32"

// anywhere is every address except link-local ones, where clouds keep credentials.
func anywhere() []networkingv1.NetworkPolicyPeer {
	return []networkingv1.NetworkPolicyPeer{addresses("0.0.0.0/0", "169.254.0.0/16"), addresses("::/0", "fe80::/10", "fd00:ec2::254/128")}
}

// registryPeers returns where a registry may be: at the addresses that the
// Environment lists, or anywhere. A reference with an IP address allows only that
// one, and only if it is allowed, because the user who deploys chooses it.
func registryPeers(host string, listed []string) []networkingv1.NetworkPolicyPeer {
	within := anywhere()
	if len(listed) > 0 {
		within = nil
		for _, cidr := range listed {
			within = append(within, addresses(cidr))
		}
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return within
	}
	ip = ip.Unmap().WithZone("")
	holds := func(cidr string) bool {
		prefix, err := netip.ParsePrefix(cidr)
		return err == nil && prefix.Contains(ip)
	}
	for _, peer := range within {
		if holds(peer.IPBlock.CIDR) && !slices.ContainsFunc(peer.IPBlock.Except, holds) {
			return []networkingv1.NetworkPolicyPeer{addresses(netip.PrefixFrom(ip, ip.BitLen()).String())}
		}
	}
	return nil
}

// egress returns where pods may connect: what the Environment lists, and what is
// needed to pull a model.
func egress(env *v1alpha1.EnvironmentSpec, sources []v1alpha1.Source) []networkingv1.NetworkPolicyEgressRule {
	var out []networkingv1.NetworkPolicyEgressRule
	for _, e := range env.Egress {
		rule := networkingv1.NetworkPolicyEgressRule{Ports: ports(corev1.ProtocolTCP, e.Ports...)}
		if e.CIDR != "" {
			rule.To = append(rule.To, addresses(e.CIDR))
		}
		if e.Namespace != "" {
			rule.To = append(rule.To, inNamespace(e.Namespace))
		}
		if len(rule.To) > 0 { // an empty list would mean everybody
			out = append(out, rule)
		}
	}
	seen := map[string]bool{}
	for _, s := range sources {
		host, numbers := registryOf(s)
		key := fmt.Sprint(host, numbers)
		if s.Type != "oci" || seen[key] {
			continue
		}
		if len(seen) == 0 {
			dns := append(ports(corev1.ProtocolUDP, 53), ports(corev1.ProtocolTCP, 53)...)
			out = append(out, networkingv1.NetworkPolicyEgressRule{Ports: dns, To: []networkingv1.NetworkPolicyPeer{inNamespace("kube-system"), addresses(localDNS)}})
		}
		seen[key] = true
		rule := networkingv1.NetworkPolicyEgressRule{Ports: ports(corev1.ProtocolTCP, numbers...), To: registryPeers(host, env.RegistryAddresses)}
		if len(rule.To) > 0 {
			out = append(out, rule)
		}
	}
	return out
}

// registryOf returns the host of a source's registry and the ports for pulling: its
// own, and that of HTTPS, from which tokens and blobs may come.
func registryOf(s v1alpha1.Source) (host string, numbers []int32) {
	host, _, _ = strings.Cut(s.Reference, "/")
	number := int32(443)
	if s.PlainHTTP {
		number = 80
	}
	if h, text, err := net.SplitHostPort(host); err == nil {
		host = h
		if n, err := strconv.ParseUint(text, 10, 16); err == nil && n > 0 {
			number = int32(n)
		}
	}
	host = strings.Trim(host, "[]")
	if number == 443 || s.PlainHTTP {
		return host, []int32{number}
	}
	return host, []int32{number, 443}
}
