package render

import (
	"fmt"
	"strconv"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// FormatWeights formats shares as hash=percent, in order.
func FormatWeights(weights map[string]int32) string {
	var parts []string
	for _, hash := range sortedKeys(weights) {
		parts = append(parts, fmt.Sprintf("%s=%d", hash, weights[hash]))
	}
	return strings.Join(parts, ",")
}

// ParseWeights parses the output of FormatWeights. It returns nil for anything else.
func ParseWeights(text string) map[string]int32 {
	out := map[string]int32{}
	for part := range strings.SplitSeq(text, ",") {
		hash, share, ok := strings.Cut(part, "=")
		n, err := strconv.ParseInt(share, 10, 32)
		if !ok || hash == "" || err != nil || n < 0 || n > 100 {
			return nil
		}
		out[hash] = int32(n)
	}
	return out
}

// WeightsOf returns the shares of a route, or nil if the route has anything that
// Route does not write.
func WeightsOf(md *v1alpha1.ModelDeployment, r *gatewayv1.HTTPRoute) map[string]int32 {
	if len(r.Spec.Rules) != 1 {
		return nil
	}
	out := map[string]int32{}
	for _, ref := range r.Spec.Rules[0].BackendRefs {
		hash, ok := strings.CutPrefix(string(ref.Name), md.Name+"-")
		if !ok {
			return nil
		}
		share := int32(1)
		if ref.Weight != nil {
			share = *ref.Weight
		}
		if share != 0 {
			out[hash] += share
		}
	}
	return out
}
