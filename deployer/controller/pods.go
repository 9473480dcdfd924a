package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// written is what a revision's record keeps of its Deployment. A newer controller, which
// would make other pods, does not change those of an older revision.
type written struct {
	Access   string                 `json:"access"` // the digest of who may use the hosts
	Template corev1.PodTemplateSpec `json:"template"`
}

// pods returns the Deployment that a revision should have. It is what the controller has
// written last, as the revision's record says, whoever has changed or deleted it since; it is
// another one if the Environment admits other callers. A deployment without an Environment keeps
// its pods, and so does one while the controller has no key by which it could ask their
// successors.
func (r *Reconciler) pods(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, rev *v1alpha1.ModelRevision, d *appsv1.Deployment) (*appsv1.Deployment, error) {
	want := render.Deployment(md, rev.Spec.Hash, rev.Spec.Template, 0, seen.access)
	if err := r.ofKind(ctx, md, want); err != nil {
		return nil, err
	}
	fresh := written{render.AccessDigest(seen.access), want.Spec.Template}
	var last written
	known := rev.Status.Pods != "" && json.Unmarshal([]byte(rev.Status.Pods), &last) == nil
	access := false
	switch {
	case d == nil && (!known || last.Access != fresh.Access):
		last = fresh
	case !known:
		last = adopted(d, want)
	}
	if d != nil && seen.env != nil && seen.noKey == "" && last.Access != fresh.Access {
		last, access = fresh, true
	}
	text, err := json.Marshal(last)
	if err != nil {
		return nil, fmt.Errorf("recording the pods of %s: %w", rev.Name, err)
	}
	if rev.Status.Pods != string(text) { // before the Deployment is written
		rev.Status.Pods = string(text)
		if err := r.Status().Update(ctx, rev); err != nil {
			return nil, fmt.Errorf("recording the pods of %s: %w", rev.Name, err)
		}
	}
	if access {
		r.Events.Event(md, corev1.EventTypeNormal, "Access", fmt.Sprintf("%s: its pods are replaced, because the access of Environment %s has changed", d.Name, seen.env.Name))
		r.Audit.Info("access", "namespace", md.Namespace, "deployment", d.Name, "environment", seen.env.Name, "keys_secret", seen.access.KeysSecret,
			"anonymous", *seen.access.AnonymousPredict, "issuers", len(seen.access.JWT))
	}
	want.Spec.Template, want.Annotations[render.AnnotationAccess] = last.Template, last.Access
	if last.Access == "" {
		delete(want.Annotations, render.AnnotationAccess)
	}
	return want, nil
}

// adopted returns the pods of a Deployment that an earlier version has made, which kept no
// record of them: they are as they are, but for the image and the resources of the model's
// host, which the revision says.
func adopted(d, want *appsv1.Deployment) written {
	t := d.Spec.Template.DeepCopy()
	t.Labels, t.Annotations = want.Spec.Template.Labels, want.Spec.Template.Annotations
	asked := slices.Concat(want.Spec.Template.Spec.Containers, want.Spec.Template.Spec.InitContainers)
	for _, list := range [][]corev1.Container{t.Spec.Containers, t.Spec.InitContainers} {
		for i := range list {
			at := slices.IndexFunc(asked, func(c corev1.Container) bool { return c.Name == list[i].Name })
			if at >= 0 {
				list[i].Image, list[i].Resources = asked[at].Image, asked[at].Resources
			}
		}
	}
	return written{d.Annotations[render.AnnotationAccess], *t}
}
