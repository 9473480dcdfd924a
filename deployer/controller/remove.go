package controller

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// routeTo makes the HTTPRoute match the weights, or removes it if the deployment has no
// Gateway any more. What it names goes after it.
func (r *Reconciler) routeTo(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, weights map[string]int32) error {
	g := md.Spec.Traffic.Gateway
	switch {
	case g == nil && seen.route == nil, g != nil && len(weights) == 0:
		return nil
	case g == nil:
		if err := r.delete(ctx, seen.route); err != nil {
			return err
		}
		seen.lookAgain(routeGone)
		r.Events.Event(md, corev1.EventTypeNormal, "Route", fmt.Sprintf("HTTPRoute %s was removed, because traffic.gateway was: requests reach the model through Service %s", md.Name, md.Name))
		return nil
	}
	want := render.Route(md, weights)
	if seen.route == nil {
		return r.create(ctx, md, seen, want)
	}
	_, err := r.keep(ctx, md, seen, seen.route, want)
	return err
}

const (
	// routeGone is when the controller looks whether a removed route has gone.
	routeGone = time.Second
	// namedFor is when it looks whether a route of somebody else still names a Service.
	namedFor = time.Minute
)

// remove deletes the Deployments and Services of revisions that are not planned. A
// revision that has a share of the traffic, or that a route names, keeps both until it has
// none.
func (r *Reconciler) remove(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, plan *strategy.Plan) error {
	routed := map[string]bool{}
	if seen.route != nil {
		names(seen.route, md.Namespace, routed)
	}
	for hash, d := range seen.deployments {
		_, planned := plan.Replicas[hash]
		leaving := len(plan.Weights) > 0 && (seen.world.Weights[hash] > 0 || routed[render.RevisionName(md, hash)])
		if planned || leaving {
			continue
		}
		if err := r.delete(ctx, d); err != nil {
			return err
		}
		delete(seen.deployments, hash)
	}
	var listed bool
	for name, s := range seen.services {
		hash := s.Labels[render.LabelRevision]
		_, planned := plan.Replicas[hash]
		if hash == "" || planned || seen.deployments[hash] != nil || name != render.RevisionName(md, hash) {
			continue
		}
		if !listed { // those of others are not in the cache
			if err := r.routes(ctx, md, routed); err != nil {
				return err
			}
			listed = true
		}
		if routed[name] {
			seen.lookAgain(namedFor)
			r.Log.Warn("a Service stays, because a route names it", "service", name, "namespace", md.Namespace)
			continue
		}
		if err := r.delete(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// routes adds the Services that any route of the namespace names.
func (r *Reconciler) routes(ctx context.Context, md *v1alpha1.ModelDeployment, named map[string]bool) error {
	if r.NoRoutes {
		return nil
	}
	var all gatewayv1.HTTPRouteList
	if err := r.Live.List(ctx, &all, client.InNamespace(md.Namespace)); err != nil {
		if meta.IsNoMatchError(err) {
			return nil
		}
		return fmt.Errorf("listing HTTPRoutes: %w", err)
	}
	for i := range all.Items {
		names(&all.Items[i], md.Namespace, named)
	}
	return nil
}

// names adds the Services of a namespace that a route names.
func names(route *gatewayv1.HTTPRoute, namespace string, out map[string]bool) {
	for _, rule := range route.Spec.Rules {
		for _, ref := range rule.BackendRefs {
			if ref.Namespace == nil || string(*ref.Namespace) == namespace {
				out[string(ref.Name)] = true
			}
		}
	}
}
