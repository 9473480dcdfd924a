package controller

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/hostkeys"
	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// lookAtAccess reads who may use the hosts, and whether the controller may.
func (r *Reconciler) lookAtAccess(ctx context.Context, md *v1alpha1.ModelDeployment, s *sight) error {
	var env v1alpha1.Environment
	err := r.Get(ctx, client.ObjectKey{Name: md.Spec.Environment}, &env)
	switch {
	case err == nil:
		s.env, s.access = &env, env.AccessOf()
	case apierrors.IsNotFound(err):
		s.access = (*v1alpha1.Access)(nil).WithDefaults(md.Spec.Environment)
	default:
		return fmt.Errorf("reading the Environment: %w", err)
	}
	_, err = r.Keys.Keys(ctx, md.Namespace)
	if errors.Is(err, hostkeys.ErrNoKey) {
		s.noKey = err.Error()
		return nil
	}
	return err //nolint:wrapcheck // it says what was being done
}

// guard changes the pods of a revision if they admit other callers than the Environment
// says. Kubernetes replaces the pods one at a time, each after its successor is ready.
// Pods stay as they are without an Environment, and while the controller has no key by
// which it could ask their successors.
func (r *Reconciler) guard(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, hash string, templates map[string]v1alpha1.RevisionTemplate) error {
	d := seen.deployments[hash]
	t, ok := templates[hash]
	if !ok || seen.env == nil || seen.noKey != "" || d.Annotations[render.AnnotationAccess] == render.AccessDigest(seen.access) {
		return nil
	}
	want := render.Deployment(md, hash, t, 0, seen.access)
	changed := d.DeepCopy()
	changed.Spec.Template = want.Spec.Template
	if changed.Annotations == nil {
		changed.Annotations = map[string]string{}
	}
	changed.Annotations[render.AnnotationAccess] = want.Annotations[render.AnnotationAccess]
	if err := r.Update(ctx, changed); err != nil {
		return fmt.Errorf("changing who may use %s: %w", d.Name, err)
	}
	seen.deployments[hash] = changed
	r.Events.Event(md, corev1.EventTypeNormal, "Access", fmt.Sprintf("%s: its pods are replaced, because the access of Environment %s has changed", d.Name, seen.env.Name))
	r.Audit.Info("access", "namespace", md.Namespace, "deployment", d.Name, "environment", seen.env.Name, "keys_secret", seen.access.KeysSecret,
		"anonymous", *seen.access.AnonymousPredict, "issuers", len(seen.access.JWT))
	return nil
}
