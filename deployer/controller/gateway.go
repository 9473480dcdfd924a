package controller

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pynomaly/pynomaly-runtime/deployer/gate"
	"github.com/pynomaly/pynomaly-runtime/deployer/gatewaymetrics"
	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// gatewayGate is the verdict that says whether the gateway's metrics can be read.
const gatewayGate = "gateway-metrics"

// servicePort is the port of the Services that routes name.
const servicePort = 80

// atGateway reads what the gateway has counted for both revisions since the new one had
// traffic. Its verdict says whether that succeeded. It returns none if the Environment
// names no metrics, or if no gateway splits the traffic.
func (r *Reconciler) atGateway(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, k *comparison) []gate.Verdict {
	k.counted = nil
	if seen.env == nil || seen.env.Spec.GatewayMetrics == nil || seen.route == nil {
		return nil
	}
	m := seen.env.Spec.GatewayMetrics
	targets := [2]gatewaymetrics.Target{target(md, seen, k.update), target(md, seen, k.stable)}
	if k.gateway == nil {
		if state := md.Status.Rollout.Gateway; state != nil {
			k.gateway = gatewaymetrics.Restore(state, k.began, stableFrom(md, k.began))
		} else {
			k.gateway = gatewaymetrics.NewTracker(k.began, stableFrom(md, k.began))
		}
	} else if renumbered(m.Kind, k.targets, targets) {
		k.gateway.Again(r.Now())
		if k.targets != [2]gatewaymetrics.Target{} {
			k.movedAt = r.Now()
		}
	}
	k.targets = targets
	if moving(m.Kind, r.Now().Sub(k.movedAt)) { // counters may still be of the other revision
		k.gateway.Again(r.Now())
	}
	broken := func(err error) []gate.Verdict {
		return []gate.Verdict{{Gate: gatewayGate, Result: gate.Error, Message: fmt.Sprintf("%.300s", err.Error())}}
	}
	all, err := r.Gateway.Read(ctx, m, targets)
	if err == nil {
		err = k.gateway.Add(all)
	}
	if err != nil {
		return broken(err)
	}
	seen.gateway = k.gateway.State()
	u, s := k.gateway.Sum(gatewaymetrics.Update), k.gateway.Sum(gatewaymetrics.Stable)
	if h := k.sides[k.update].Sum(); u.Requests == 0 && h.Requests+h.Errors >= minSplit && !slices.ContainsFunc(all, func(r gatewaymetrics.Reading) bool { return r.Counts[gatewaymetrics.Update].Known }) {
		return broken(fmt.Errorf("hosts have answered %d requests, and the gateway's metrics name no Service %s of namespace %s: do they count Services?", h.Requests+h.Errors, targets[0].Service, md.Namespace))
	}
	k.counted = map[string]*gate.Gateway{k.update: sampleOf(u), k.stable: sampleOf(s)}
	return []gate.Verdict{{Gate: gatewayGate, Result: gate.Pass, N: u.Requests, Message: fmt.Sprintf("%d of %d requests failed at the gateway, and %d of stable's %d", u.Errors, u.Requests, s.Errors, s.Requests)}}
}

// renumbered reports whether counters may be of other Services than at the last reading:
// Envoy Gateway names them by their places in the route, also where a Prometheus has
// scraped it.
func renumbered(kind string, before, now [2]gatewaymetrics.Target) bool {
	return kind != v1alpha1.MetricsTraefik && before != now
}

// moving reports whether counters may have been read before the gateway, or the Prometheus
// that scrapes it, knew which Services moved. What is counted meanwhile counts for neither.
func moving(kind string, since time.Duration) bool {
	const known, scraped = 5 * time.Second, time.Minute
	switch kind {
	case v1alpha1.MetricsTraefik:
		return false
	case v1alpha1.MetricsPrometheus:
		return since < scraped
	}
	return since < known
}

// target returns how the gateway knows a revision's Service.
func target(md *v1alpha1.ModelDeployment, seen *sight, hash string) gatewaymetrics.Target {
	t := gatewaymetrics.Target{Namespace: md.Namespace, Route: md.Name, Service: render.RevisionName(md, hash), Port: servicePort, Backend: -1}
	for _, rule := range seen.route.Spec.Rules {
		for i, ref := range rule.BackendRefs {
			if string(ref.Name) == t.Service {
				t.Backend = i
			}
		}
	}
	return t
}

func sampleOf(c gatewaymetrics.Count) *gate.Gateway {
	g := &gate.Gateway{Requests: c.Requests, Errors: c.Errors}
	if len(c.Bins) != len(c.Edges)+1 {
		return g
	}
	const micro = 1e-6
	for _, e := range c.Edges {
		g.Durations.Edges = append(g.Durations.Edges, float64(e)*micro)
	}
	g.Durations.Counts = make([]uint64, 0, len(c.Bins))
	for _, n := range c.Bins {
		g.Durations.Counts = append(g.Durations.Counts, uint64(max(0, n)))
	}
	return g
}

// stableFrom returns from when on the stable revision's requests count: the two
// revisions of a blue_green rollout never serve at the same time.
func stableFrom(md *v1alpha1.ModelDeployment, began time.Time) time.Time {
	if md.Spec.Strategy.Type == v1alpha1.BlueGreen {
		return time.Time{}
	}
	return began
}

// keepGateway puts into a status what the gateway has counted, if the times of the
// rollout are written as well: each write causes another evaluation.
func keepGateway(before, s *v1alpha1.ModelDeploymentStatus, counted *v1alpha1.GatewayFigures) {
	a, b := &before.Rollout, &s.Rollout
	same := before.Update == s.Update && a.Attempt == b.Attempt && s.Update != s.Stable && b.Aborted == ""
	if same && counted != nil && !a.Seen.Equal(b.Seen) {
		b.Gateway = counted
	}
}
