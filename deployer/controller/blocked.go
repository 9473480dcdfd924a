package controller

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// blocked says what has to happen before a revision may get pods; empty: nothing. What
// was deployed before may always come back.
func (r *Reconciler) blocked(ctx context.Context, md *v1alpha1.ModelDeployment, revision *v1alpha1.ModelRevision) (string, error) {
	if revision.Status.DeployedAt != nil || revision.Spec.Hash == md.Status.Stable {
		return "", nil
	}
	var env v1alpha1.Environment
	err := r.Get(ctx, client.ObjectKey{Name: md.Spec.Environment}, &env)
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Sprintf("there is no Environment %q: `deploy install` makes the usual ones", md.Spec.Environment), nil
	case err != nil:
		return "", fmt.Errorf("reading the Environment: %w", err)
	case env.Spec.Namespace != md.Namespace:
		return fmt.Sprintf("deployments to %s belong in namespace %s, not %s", env.Name, env.Spec.Namespace, md.Namespace), nil
	}
	if s := revision.Spec.Template.Source.PullSecret; s != "" && !slices.Contains(env.Spec.PullSecrets, s) {
		return fmt.Sprintf("deployments to %s may not use the Secret %s: its Environment names those that they may in pullSecrets", env.Name, s), nil
	}
	m := revision.Spec.Template.Model
	if env.Spec.PromotesFrom != "" {
		if m.Digest == "" {
			return fmt.Sprintf("%s takes models that ran in %s, by their digest: use `deploy promote`", env.Name, env.Spec.PromotesFrom), nil
		}
		if why, err := r.soaked(ctx, &env, m); why != "" || err != nil {
			return why, err
		}
	}
	if !env.Spec.ApprovalRequired {
		return "", nil
	}
	return r.approved(ctx, md, revision)
}

// soaked says what is missing of a model's time in the environment before.
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
			return fmt.Sprintf("%s has to run in %s for %s more", rev.Spec.DeploymentID, from.Name, left.Round(time.Second)), nil
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

// approved says what is missing of an approval.
func (r *Reconciler) approved(ctx context.Context, md *v1alpha1.ModelDeployment, revision *v1alpha1.ModelRevision) (string, error) {
	m := revision.Spec.Template.Model
	if m.Digest == "" {
		return fmt.Sprintf("%s takes approved models, by their digest: give model.digest", md.Spec.Environment), nil
	}
	var list v1alpha1.ModelApprovalList
	if err := r.List(ctx, &list, client.InNamespace(md.Namespace)); err != nil {
		return "", fmt.Errorf("listing approvals: %w", err)
	}
	why := fmt.Sprintf("waits for an approval of %s@%s by somebody other than %s: `deploy approve %s`", m.ID, m.Version, nobody(revision.Spec.RequestedBy), revision.Spec.DeploymentID)
	for i := range list.Items {
		a := &list.Items[i].Spec
		if a.Model.ID != m.ID || a.Model.Version != m.Version || a.Environment != md.Spec.Environment {
			continue
		}
		switch {
		case a.Model.Digest != m.Digest:
			why = fmt.Sprintf("%s approved digest %s; what is to be deployed has %s", a.ApprovedBy, a.Model.Digest, m.Digest)
		case revision.Spec.RequestedBy == "" || a.ApprovedBy == revision.Spec.RequestedBy:
			why = fmt.Sprintf("%s has asked for it and cannot approve it: somebody else has to", nobody(a.ApprovedBy))
		default:
			return "", nil
		}
	}
	return why, nil
}

func nobody(name string) string {
	if name == "" {
		return "whoever asked for it"
	}
	return name
}
