package controller

import (
	"context"
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// apply makes the objects match the plan. It bounds the pods' network first, then
// makes what receives traffic, then moves the traffic, and deletes last. What is no longer
// wanted goes in an order that loses nothing: an autoscaler before the replicas that it
// would change, a route before the pods and Services that it names.
func (r *Reconciler) apply(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, all []v1alpha1.ModelRevision, plan *strategy.Plan) error {
	if len(plan.Replicas)+len(seen.deployments) == 0 {
		return nil // nothing serves, and nothing may yet
	}
	records := map[string]*v1alpha1.ModelRevision{}
	for i := range all {
		records[all[i].Spec.Hash] = &all[i]
	}
	if err := r.admit(ctx, md, seen, records, plan); err != nil {
		return err
	}
	if a := seen.autoscaler; a != nil && md.Spec.Autoscaling == nil {
		if err := r.delete(ctx, a); err != nil {
			return err
		}
		seen.autoscaler = nil
	}
	less := map[string]int32{}
	for hash, n := range plan.Replicas {
		if d := seen.deployments[hash]; d != nil && d.Spec.Replicas != nil && *d.Spec.Replicas > n {
			less[hash] = n
			n = *d.Spec.Replicas
		}
		if err := r.serve(ctx, md, seen, hash, records[hash], n, plan); err != nil {
			return err
		}
	}
	if err := r.traffic(ctx, md, seen, plan); err != nil {
		return err
	}
	for hash, n := range less {
		if err := r.serve(ctx, md, seen, hash, records[hash], n, plan); err != nil {
			return err
		}
	}
	if err := r.remove(ctx, md, seen, plan); err != nil {
		return err
	}
	return r.preview(ctx, md, seen, plan)
}

// serve makes a revision's Deployment and Service match the plan. An autoscaler's replicas
// stay as they are.
func (r *Reconciler) serve(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, hash string, record *v1alpha1.ModelRevision, replicas int32, plan *strategy.Plan) error {
	d := seen.deployments[hash]
	autoscaled := md.Spec.Autoscaling != nil && hash == md.Status.Stable && hash == plan.Status.Stable
	if autoscaled && d != nil && d.Spec.Replicas != nil {
		replicas = *d.Spec.Replicas
	}
	switch {
	case record == nil && d == nil:
		return fmt.Errorf("revision %s has no record: its pods cannot be made again", hash)
	case record == nil: // nobody knows which pods it should have
		if d.Spec.Replicas == nil || *d.Spec.Replicas != replicas {
			changed := d.DeepCopy()
			changed.Spec.Replicas = &replicas
			if err := r.Patch(ctx, changed, client.MergeFromWithOptions(d, client.MergeFromWithOptimisticLock{}), owner); err != nil {
				return fmt.Errorf("scaling %s: %w", d.Name, err)
			}
			seen.deployments[hash] = changed
		}
	default:
		want, err := r.pods(ctx, md, seen, record, d)
		if err != nil {
			return err
		}
		want.Spec.Replicas = &replicas
		if d == nil {
			if err := r.create(ctx, md, seen, want); err != nil {
				return err
			}
			break
		}
		now, err := r.keep(ctx, md, seen, d, want)
		if err != nil {
			return err
		}
		if d, ok := now.(*appsv1.Deployment); ok {
			seen.deployments[hash] = d
		}
	}
	return r.reach(ctx, md, seen, render.RevisionService(md, hash))
}

// reach makes a Service match want.
func (r *Reconciler) reach(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, want *corev1.Service) error {
	if s := seen.services[want.Name]; s != nil {
		now, err := r.keep(ctx, md, seen, s, want)
		if s, ok := now.(*corev1.Service); ok && err == nil {
			seen.services[want.Name] = s
		}
		return err
	}
	if err := r.create(ctx, md, seen, want); err != nil {
		return err
	}
	if seen.others[nameOf(want)] == "" {
		seen.services[want.Name] = want
	}
	return nil
}

// preview maintains the Service that reaches the revision that is being rolled out.
func (r *Reconciler) preview(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, plan *strategy.Plan) error {
	s := &plan.Status
	if _, planned := plan.Replicas[s.Update]; planned && s.Stable != "" && s.Update != s.Stable {
		err := r.reach(ctx, md, seen, render.PreviewService(md, s.Update))
		if apierrors.IsAlreadyExists(err) { // a model may have this name
			r.Log.Warn("there is no preview: its name is taken", "service", render.PreviewName(md), "namespace", md.Namespace)
			return nil
		}
		return err
	}
	if old := seen.services[render.PreviewName(md)]; old != nil {
		return r.delete(ctx, old)
	}
	return nil
}

// create makes an object that md owns. It does not touch an object of the same name
// that md does not own.
func (r *Reconciler) create(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, o client.Object) error {
	if seen.others[nameOf(o)] != "" {
		return nil
	}
	return r.created(ctx, md, o)
}

// traffic makes the Service, the HTTPRoute, the autoscaler and the
// PodDisruptionBudget match the plan.
func (r *Reconciler) traffic(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, plan *strategy.Plan) error {
	if len(plan.Weights) > 0 {
		if err := r.reach(ctx, md, seen, render.Service(md, plan.Weights)); err != nil {
			return err
		}
	}
	if err := r.routeTo(ctx, md, seen, plan.Weights); err != nil {
		return err
	}
	if want := render.Budget(md); seen.budget == nil {
		if err := r.create(ctx, md, seen, want); err != nil {
			return err
		}
	} else if _, err := r.keep(ctx, md, seen, seen.budget, want); err != nil {
		return err
	}
	if md.Spec.Autoscaling == nil || plan.Status.Stable == "" {
		return nil
	}
	want := render.Autoscaler(md, plan.Status.Stable)
	if seen.autoscaler == nil {
		return r.create(ctx, md, seen, want)
	}
	_, err := r.keep(ctx, md, seen, seen.autoscaler, want)
	return err
}

// admit bounds the pods' network. One policy covers all revisions that have pods or
// will have them. It admits the namespace of a Gateway for as long as there is a route to
// it.
func (r *Reconciler) admit(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, records map[string]*v1alpha1.ModelRevision, plan *strategy.Plan) error {
	var env v1alpha1.EnvironmentSpec
	if seen.env != nil {
		env = seen.env.Spec
	}
	var sources []v1alpha1.Source
	for _, hash := range slices.Sorted(maps.Keys(records)) {
		if _, planned := plan.Replicas[hash]; planned || seen.deployments[hash] != nil {
			sources = append(sources, records[hash].Spec.Template.Source)
		}
	}
	routed := md.DeepCopy()
	if seen.route != nil {
		for _, p := range seen.route.Spec.ParentRefs {
			if p.Namespace != nil {
				routed.Spec.Traffic.Admit = append(routed.Spec.Traffic.Admit, string(*p.Namespace))
			}
		}
	}
	want := render.NetworkPolicy(routed, r.Namespace, &env, sources)
	if seen.network == nil {
		return r.create(ctx, md, seen, want)
	}
	_, err := r.keep(ctx, md, seen, seen.network, want)
	return err
}
