package gatewaymetrics

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// Target is one revision's Service, as gateways name it.
type Target struct {
	Namespace string // of the Service and of the HTTPRoute
	Route     string // the HTTPRoute
	Service   string
	Port      int32
	Backend   int // index among the route's backends, or -1
}

// Count is what a gateway has counted for a Service.
type Count struct {
	Known    bool // there are series of it
	Requests int64
	Errors   int64   // answered with 500 and above, whoever made the answer
	Edges    []int64 // of Bins, in microseconds; the last bin has none
	Bins     []int64 // how many requests took so long; empty: not counted
}

// ErrTogether means that a gateway does not count revisions one by one.
var ErrTogether = errors.New("the gateway counts all Services of the route together: it must make a cluster of its own for each")

// Of adds up the series of a Service. kind is one of v1alpha1's kinds of metrics.
func Of(kind string, all []Series, t Target) (Count, error) {
	var c Count
	buckets := map[float64]float64{} // by upper edge in seconds
	together := false
	for _, s := range all {
		var mine, failed, timed bool
		unit := 1.0
		switch s.Name {
		case traefikRequests, traefikDurations + "_bucket":
			mine, failed = kind != v1alpha1.MetricsEnvoy && t.inTraefik(s.Labels["service"]), traefikFailed(s.Labels)
			// A connection that stays open for an hour is not a slow answer.
			timed = s.Name != traefikRequests && s.Labels["protocol"] != "websocket" && s.Labels["protocol"] != "sse"
		case envoyRequests, envoyDurations + "_bucket":
			name := s.Labels["envoy_cluster_name"]
			mine, failed = kind != v1alpha1.MetricsTraefik && t.inEnvoy(name), s.Labels["envoy_response_code_class"] == "5"
			together = together || name == t.rule()
			timed, unit = s.Name != envoyRequests, 1000
		}
		switch {
		case !mine:
		case timed:
			edge, err := strconv.ParseFloat(s.Labels["le"], 64)
			if err != nil {
				return Count{}, fmt.Errorf("reading %s: le=%q is not a number", s.Name, s.Labels["le"])
			}
			buckets[edge/unit] += s.Value
		case s.Name == traefikRequests, s.Name == envoyRequests:
			n, err := number(s.Value)
			if err != nil {
				return Count{}, fmt.Errorf("reading %s: %w", s.Name, err)
			}
			c.Known = true
			c.Requests += n
			if failed {
				c.Errors += n
			}
		}
	}
	if !c.Known && together && kind != v1alpha1.MetricsTraefik {
		return Count{}, fmt.Errorf("reading %s of cluster %s: %w", envoyRequests, t.rule(), ErrTogether)
	}
	return c, c.bins(buckets)
}

// bins converts cumulative counts into the count of each bin.
func (c *Count) bins(buckets map[float64]float64) error {
	before := int64(0)
	for _, edge := range slices.Sorted(maps.Keys(buckets)) {
		n, err := number(buckets[edge])
		if err != nil {
			return fmt.Errorf("reading durations: %w", err)
		}
		if !math.IsInf(edge, 1) {
			micros := math.Round(edge * 1e6)
			if !(micros > 0 && micros < 1<<53) || len(c.Edges) >= mostEdges {
				return fmt.Errorf("reading durations: the edge %v s cannot be used", edge)
			}
			c.Edges = append(c.Edges, int64(micros))
		}
		c.Bins = append(c.Bins, max(0, n-before))
		before = max(before, n)
	}
	if len(c.Bins) > 0 && len(c.Bins) == len(c.Edges) { // without a bucket for the rest
		c.Bins = append(c.Bins, 0)
	}
	return nil
}

const mostEdges = 64

// traefikFailed reports whether Traefik's labels are those of a failure. For gRPC the
// code is gRPC's.
func traefikFailed(labels map[string]string) bool {
	code, err := strconv.Atoi(labels["code"])
	if err != nil {
		return false
	}
	if p := labels["protocol"]; (p == "grpc" || p == "grpc-web") && code < 100 {
		const unknown, deadline, internal, unavailable, dataLoss = 2, 4, 13, 14, 15
		return slices.Contains([]int{unknown, deadline, internal, unavailable, dataLoss}, code)
	}
	return code >= 500
}

// inTraefik reports whether Traefik's name of a service is that of the target:
// <namespace>-<service>-http-<port>@kubernetesgateway or, in versions before 3.6,
// <namespace>-<service>-<port>@kubernetesgateway.
func (t Target) inTraefik(name string) bool {
	name, provider, _ := strings.Cut(name, "@")
	rest, ok := strings.CutPrefix(name, t.Namespace+"-"+t.Service+"-")
	port := strconv.Itoa(int(t.Port))
	return ok && provider == "kubernetesgateway" && (rest == port || rest == "http-"+port)
}

// inEnvoy reports whether a cluster of Envoy is that of the target. Gateways that make
// a cluster for each Service have its namespace and its name in the cluster's, with
// different characters between them. Envoy Gateway numbers the route's backends.
func (t Target) inEnvoy(cluster string) bool {
	if t.Backend >= 0 && cluster == fmt.Sprintf("%s/backend/%d", t.rule(), t.Backend) {
		return true
	}
	words := strings.FieldsFunc(cluster, func(r rune) bool { return r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return slices.Contains(words, t.Service) && slices.Contains(words, t.Namespace)
}

// rule is Envoy Gateway's name of the route's only rule.
func (t Target) rule() string {
	return fmt.Sprintf("httproute/%s/%s/rule/0", t.Namespace, t.Route)
}
