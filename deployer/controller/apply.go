package controller

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// apply makes the objects match the plan. It bounds the pods' network first, then
// makes what receives traffic, then moves the traffic, and deletes last.
func (r *Reconciler) apply(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, all []v1alpha1.ModelRevision, plan *strategy.Plan) error {
	if len(plan.Replicas)+len(seen.deployments) == 0 {
		return nil // nothing serves, and nothing may yet
	}
	templates := map[string]v1alpha1.RevisionTemplate{}
	for i := range all {
		templates[all[i].Spec.Hash] = all[i].Spec.Template
	}
	if err := r.admit(ctx, md, seen, templates, plan); err != nil {
		return err
	}
	less := map[string]int32{}
	for hash, n := range plan.Replicas {
		if d := seen.deployments[hash]; d != nil && d.Spec.Replicas != nil && *d.Spec.Replicas > n {
			less[hash] = n
			n = *d.Spec.Replicas
		}
		if err := r.serve(ctx, md, seen, hash, templates, n, plan); err != nil {
			return err
		}
	}
	if err := r.traffic(ctx, md, seen, plan); err != nil {
		return err
	}
	for hash, n := range less {
		if err := r.serve(ctx, md, seen, hash, templates, n, plan); err != nil {
			return err
		}
	}
	for hash, d := range seen.deployments {
		_, planned := plan.Replicas[hash]
		if leaving := len(plan.Weights) > 0 && seen.world.Weights[hash] > 0; planned || leaving {
			continue
		}
		if err := r.delete(ctx, d); err != nil {
			return err
		}
		if s := seen.services[render.RevisionName(md, hash)]; s != nil {
			if err := r.delete(ctx, s); err != nil {
				return err
			}
		}
	}
	return r.preview(ctx, md, seen, plan)
}

func (r *Reconciler) delete(ctx context.Context, o client.Object) error {
	uid, version := o.GetUID(), o.GetResourceVersion()
	err := r.Delete(ctx, o, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting %s: %w", o.GetName(), err)
	}
	return nil
}

// serve makes a revision's Deployment and Service match the plan.
func (r *Reconciler) serve(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, hash string, templates map[string]v1alpha1.RevisionTemplate, replicas int32, plan *strategy.Plan) error {
	d := seen.deployments[hash]
	autoscaled := md.Spec.Autoscaling != nil && hash == md.Status.Stable && hash == plan.Status.Stable
	if d == nil {
		t, ok := templates[hash]
		if !ok {
			return fmt.Errorf("revision %s has no record: its pods cannot be made again", hash)
		}
		made := render.Deployment(md, hash, t, replicas, seen.access)
		if err := r.ofKind(ctx, md, made); err != nil {
			return err
		}
		if err := r.create(ctx, md, seen, made); err != nil {
			return err
		}
	} else if err := r.guard(ctx, md, seen, hash, templates); err != nil {
		return err
	} else if d = seen.deployments[hash]; !autoscaled && (d.Spec.Replicas == nil || *d.Spec.Replicas != replicas) {
		changed := d.DeepCopy()
		changed.Spec.Replicas = &replicas
		if err := r.Update(ctx, changed); err != nil {
			return fmt.Errorf("scaling %s: %w", d.Name, err)
		}
		seen.deployments[hash] = changed
	}
	return r.reach(ctx, md, seen, render.RevisionService(md, hash))
}

// reach makes a Service match want.
func (r *Reconciler) reach(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, want *corev1.Service) error {
	s := seen.services[want.Name]
	if s == nil {
		if err := r.create(ctx, md, seen, want); err != nil {
			return err
		}
		if seen.others[nameOf(want)] == "" {
			seen.services[want.Name] = want
		}
		return nil
	}
	if equality.Semantic.DeepEqual(s.Spec.Selector, want.Spec.Selector) {
		return nil
	}
	changed := s.DeepCopy()
	changed.Spec.Selector = want.Spec.Selector
	if err := r.Update(ctx, changed); err != nil {
		return fmt.Errorf("writing Service %s: %w", s.Name, err)
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
	if err := own(md, o, r.Scheme()); err != nil {
		return fmt.Errorf("owning %s: %w", o.GetName(), err)
	}
	if err := r.Create(ctx, o); err != nil {
		return fmt.Errorf("making %s: %w", o.GetName(), err)
	}
	return nil
}

// traffic makes the Service, the HTTPRoute, the autoscaler and the
// PodDisruptionBudget match the plan.
func (r *Reconciler) traffic(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, plan *strategy.Plan) error {
	if len(plan.Weights) > 0 {
		want := render.Service(md, plan.Weights)
		s := seen.services[md.Name]
		switch {
		case s == nil:
			if err := r.create(ctx, md, seen, want); err != nil {
				return err
			}
		case !equality.Semantic.DeepEqual(s.Spec.Selector, want.Spec.Selector) || s.Annotations[render.AnnotationWeights] != want.Annotations[render.AnnotationWeights]:
			changed := s.DeepCopy()
			changed.Spec.Selector = want.Spec.Selector
			if changed.Annotations == nil {
				changed.Annotations = map[string]string{}
			}
			changed.Annotations[render.AnnotationWeights] = want.Annotations[render.AnnotationWeights]
			if err := r.Update(ctx, changed); err != nil {
				return fmt.Errorf("writing Service %s: %w", s.Name, err)
			}
		}
		if md.Spec.Traffic.Gateway != nil {
			if err := r.routeTo(ctx, md, seen, plan.Weights); err != nil {
				return err
			}
		}
	}
	if seen.budget == nil {
		if err := r.create(ctx, md, seen, render.Budget(md)); err != nil {
			return err
		}
	}
	return r.autoscale(ctx, md, seen, plan)
}

// admit bounds the pods' network. One policy covers all revisions that have pods or
// will have them.
func (r *Reconciler) admit(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, templates map[string]v1alpha1.RevisionTemplate, plan *strategy.Plan) error {
	var env v1alpha1.EnvironmentSpec
	if seen.env != nil {
		env = seen.env.Spec
	}
	var sources []v1alpha1.Source
	for _, hash := range slices.Sorted(maps.Keys(templates)) {
		if _, planned := plan.Replicas[hash]; planned || seen.deployments[hash] != nil {
			sources = append(sources, templates[hash].Source)
		}
	}
	want := render.NetworkPolicy(md, r.Namespace, &env, sources)
	if seen.network == nil {
		return r.create(ctx, md, seen, want)
	}
	if equality.Semantic.DeepEqual(want.Spec, seen.network.Spec) {
		return nil
	}
	changed := seen.network.DeepCopy()
	changed.Spec = want.Spec
	if err := r.Update(ctx, changed); err != nil {
		return fmt.Errorf("writing NetworkPolicy %s: %w", want.Name, err)
	}
	return nil
}

func (r *Reconciler) routeTo(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, weights map[string]int32) error {
	want := render.Route(md, weights)
	if seen.route == nil {
		return r.create(ctx, md, seen, want)
	}
	if maps.Equal(render.WeightsOf(md, seen.route), weights) && equality.Semantic.DeepDerivative(want.Spec, seen.route.Spec) {
		return nil
	}
	changed := seen.route.DeepCopy()
	changed.Spec = want.Spec
	if err := r.Update(ctx, changed); err != nil {
		return fmt.Errorf("writing HTTPRoute %s: %w", want.Name, err)
	}
	return nil
}

func (r *Reconciler) autoscale(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, plan *strategy.Plan) error {
	a := seen.autoscaler
	switch {
	case md.Spec.Autoscaling == nil && a != nil:
		return r.delete(ctx, a)
	case md.Spec.Autoscaling == nil || plan.Status.Stable == "":
		return nil
	}
	want := render.Autoscaler(md, plan.Status.Stable)
	if a == nil {
		return r.create(ctx, md, seen, want)
	}
	if equality.Semantic.DeepDerivative(want.Spec, a.Spec) {
		return nil
	}
	changed := a.DeepCopy()
	changed.Spec = want.Spec
	if err := r.Update(ctx, changed); err != nil {
		return fmt.Errorf("writing HorizontalPodAutoscaler %s: %w", want.Name, err)
	}
	return nil
}
