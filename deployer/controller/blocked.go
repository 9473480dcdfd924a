package controller

import (
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// blocked returns what must happen, besides an approval, before a revision may get
// pods in an environment. It returns "" if nothing must.
func (r *Reconciler) blocked(ctx context.Context, env *v1alpha1.Environment, revision *v1alpha1.ModelRevision) (string, error) {
	t := &revision.Spec.Template
	if env.KindOf() == "" {
		return fmt.Sprintf("hosts do not know an environment %q: set spec.kind of the Environment to development, staging or production", env.Name), nil
	}
	if !render.ImageAllowed(&env.Spec, t.Image) {
		return fmt.Sprintf("deployments to %s may not run the image %s: its Environment does not list it in images", env.Name, t.Image), nil
	}
	if s := t.Source.PullSecret; s != "" && !slices.Contains(env.Spec.PullSecrets, s) {
		return fmt.Sprintf("deployments to %s may not use the Secret %s: its Environment does not list it in pullSecrets", env.Name, s), nil
	}
	if c := t.Source.Claim; c != "" && !slices.Contains(env.Spec.Claims, c) {
		return fmt.Sprintf("deployments to %s may not use the PersistentVolumeClaim %s: its Environment does not list it in claims", env.Name, c), nil
	}
	if env.Spec.PromotesFrom == "" {
		return "", nil
	}
	if t.Model.Digest == "" {
		return fmt.Sprintf("%s accepts only models that ran in %s, by digest: use `deploy promote`", env.Name, env.Spec.PromotesFrom), nil
	}
	return r.soaked(ctx, env, t.Model)
}

// soaked returns what is missing of a model's required time in the environment
// before.
func (r *Reconciler) soaked(ctx context.Context, env *v1alpha1.Environment, m v1alpha1.ModelReference) (string, error) {
	var from v1alpha1.Environment
	if err := r.Get(ctx, client.ObjectKey{Name: env.Spec.PromotesFrom}, &from); err != nil {
		if apierrors.IsNotFound(err) {
			return fmt.Sprintf("there is no Environment %q, which %s takes models from", env.Spec.PromotesFrom, env.Name), nil
		}
		return "", fmt.Errorf("reading the Environment: %w", err)
	}
	var list v1alpha1.ModelRevisionList
	if err := r.List(ctx, &list, client.InNamespace(from.Spec.Namespace), client.MatchingLabels{render.LabelDeployment: render.BaseName(m.ID)}); err != nil {
		return "", fmt.Errorf("listing revisions of %s: %w", from.Name, err)
	}
	for i := range list.Items {
		rev := &list.Items[i]
		t := rev.Spec.Template.Model
		if t.Version != m.Version || (t.Digest != m.Digest && rev.Status.Digest != m.Digest) || rev.Status.Phase != v1alpha1.Deployed || rev.Status.DeployedAt == nil {
			continue
		}
		soak := time.Duration(0)
		if env.Spec.Soak != nil {
			soak = env.Spec.Soak.Duration
		}
		if left := soak - r.Now().Sub(rev.Status.DeployedAt.Time); left > 0 {
			return fmt.Sprintf("%s must run in %s for %s more", rev.Spec.DeploymentID, from.Name, left.Round(time.Second)), nil
		}
		var md v1alpha1.ModelDeployment
		if err := r.Get(ctx, client.ObjectKey{Namespace: from.Spec.Namespace, Name: render.BaseName(m.ID)}, &md); err != nil {
			return "", fmt.Errorf("reading the ModelDeployment in %s: %w", from.Name, err)
		}
		if !meta.IsStatusConditionTrue(md.Status.Conditions, v1alpha1.ConditionReady) {
			return fmt.Sprintf("%s is not healthy in %s: %s", rev.Spec.DeploymentID, from.Name, md.Status.Message), nil
		}
		return "", nil
	}
	return fmt.Sprintf("%s@%s with digest %s does not run in %s", m.ID, m.Version, m.Digest, from.Name), nil
}

// ofKind sets what a new Deployment's hosts take their environment for.
func (r *Reconciler) ofKind(ctx context.Context, md *v1alpha1.ModelDeployment, d *appsv1.Deployment) error {
	var env v1alpha1.Environment
	if err := r.Get(ctx, client.ObjectKey{Name: md.Spec.Environment}, &env); err != nil {
		if apierrors.IsNotFound(err) { // it is as it was
			return nil
		}
		return fmt.Errorf("reading the Environment: %w", err)
	}
	kind := env.KindOf()
	for i := range d.Spec.Template.Spec.Containers {
		c := &d.Spec.Template.Spec.Containers[i]
		if at := slices.Index(c.Args, "--env"); kind != "" && c.Name == render.ContainerName && at >= 0 && at+1 < len(c.Args) {
			c.Args[at+1] = kind
		}
	}
	return nil
}
