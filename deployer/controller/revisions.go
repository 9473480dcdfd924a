package controller

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// revision returns the record of the requested template, which it makes if there is
// none, and all records of md.
func (r *Reconciler) revision(ctx context.Context, md *v1alpha1.ModelDeployment) (*v1alpha1.ModelRevision, []v1alpha1.ModelRevision, error) {
	var list v1alpha1.ModelRevisionList
	if err := r.List(ctx, &list, client.InNamespace(md.Namespace), client.MatchingLabels{render.LabelDeployment: md.Name}); err != nil {
		return nil, nil, fmt.Errorf("listing revisions: %w", err)
	}
	hash, err := render.Hash(md.Spec.Template)
	if err != nil {
		return nil, nil, err
	}
	newest := md.Status.Number
	ours := list.Items[:0:0]
	for i := range list.Items {
		newest = max(newest, list.Items[i].Spec.Number)
		if metav1.IsControlledBy(&list.Items[i], md) {
			ours = append(ours, list.Items[i])
		}
	}
	for i := range ours {
		if ours[i].Spec.Hash == hash {
			return &ours[i], ours, equal(&ours[i], md)
		}
	}
	number, err := r.number(ctx, md, hash, newest)
	if err != nil {
		return nil, nil, err
	}
	rev := &v1alpha1.ModelRevision{
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("%s-%d", md.Name, number), Namespace: md.Namespace, Labels: render.Labels(md, hash),
			Annotations: map[string]string{render.AnnotationModel: md.Spec.Template.Model.ID},
		},
		Spec: v1alpha1.ModelRevisionSpec{
			DeploymentID: render.DeploymentID(md.Spec.Template.Model.ID, md.Spec.Environment, number), Number: number, Hash: hash,
			Environment: md.Spec.Environment, Template: *md.Spec.Template.DeepCopy(), RequestedBy: md.Spec.RequestedBy, Reason: md.Spec.Reason,
		},
	}
	if err := own(md, rev, r.Scheme()); err != nil {
		return nil, nil, err
	}
	if err := r.Create(ctx, rev); err != nil {
		return nil, nil, fmt.Errorf("recording the revision: %w", err)
	}
	return rev, append(ours, *rev), nil
}

// equal refuses a template that has the short name of a revision but differs from
// it.
func equal(rev *v1alpha1.ModelRevision, md *v1alpha1.ModelDeployment) error {
	recorded, err := render.TemplateDigest(rev.Spec.Template)
	if err != nil {
		return err
	}
	asked, err := render.TemplateDigest(md.Spec.Template)
	if err == nil && asked != recorded {
		err = &refusal{"RevisionTaken", fmt.Sprintf("the template differs from %s but has the same short name %s: set another template.attempt", rev.Spec.DeploymentID, rev.Spec.Hash)}
	}
	return err
}

// missed returns the end of a revision whose record does not say it, although no rollout is
// under way: the record could not be written when the revision ended, which happens once.
func missed(md *v1alpha1.ModelDeployment, rev *v1alpha1.ModelRevision) (phase string, ok bool) {
	s := &md.Status
	if s.Stable == "" || s.Update != s.Stable || rev.Spec.Hash == s.Stable {
		return "", false
	}
	switch rev.Status.Phase {
	case v1alpha1.Deployed, v1alpha1.RollingBack:
		if md.Spec.RollbackOf == rev.Spec.Hash {
			return v1alpha1.RolledBack, true
		}
	case v1alpha1.Pending, v1alpha1.Deploying, v1alpha1.Paused:
	default:
		return "", false
	}
	return v1alpha1.Superseded, true
}

// prune deletes the oldest records that nothing refers to.
func (r *Reconciler) prune(ctx context.Context, md *v1alpha1.ModelDeployment, all []v1alpha1.ModelRevision, plan *strategy.Plan) error {
	limit := int(md.Spec.HistoryLimit)
	if limit == 0 {
		limit = 10
	}
	for len(all) > limit {
		oldest := -1
		for i := range all {
			hash := all[i].Spec.Hash
			_, used := plan.Replicas[hash]
			if used || hash == plan.Status.Stable || hash == plan.Status.Update {
				continue
			}
			if oldest < 0 || all[i].Spec.Number < all[oldest].Spec.Number {
				oldest = i
			}
		}
		if oldest < 0 {
			return nil
		}
		if err := client.IgnoreNotFound(r.Delete(ctx, &all[oldest])); err != nil {
			return fmt.Errorf("deleting an old revision: %w", err)
		}
		all = append(all[:oldest:oldest], all[oldest+1:]...)
	}
	return nil
}
