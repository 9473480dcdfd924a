package controller

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/hostkeys"
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
