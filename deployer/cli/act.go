package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// on finds the deployment with an id and calls do with it.
func (a *app) on(ctx context.Context, id string, do func(c client.WithWatch, t *target) error) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	t, err := find(ctx, c, id)
	if err != nil {
		return err
	}
	return do(c, t)
}

// underWay returns an error unless the deployment's rollout is in progress.
func (t *target) underWay() error {
	s := &t.deployment.Status
	switch {
	case s.Update != t.revision.Spec.Hash:
		return fmt.Errorf("%s is not being rolled out: it is %s", t.id, t.revision.Status.Phase)
	case s.Stable == s.Update:
		return fmt.Errorf("the rollout of %s has ended: it is %s", t.id, t.revision.Status.Phase)
	}
	return nil
}

func (a *app) rollback() *cobra.Command {
	var reason string
	var wait bool
	c := &cobra.Command{
		Use: "rollback <deployment-id>", Short: "Go back to the deployment that served before", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.on(ctx, args[0], func(c client.WithWatch, t *target) error { return a.runRollback(ctx, c, t, reason, wait) })
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "reason, for the record")
	a.outputs(c)
	a.waits(c, &wait)
	return c
}

func (a *app) runRollback(ctx context.Context, c client.WithWatch, t *target, reason string, wait bool) error {
	md, rev := &t.deployment, &t.revision
	if md.Status.Update == rev.Spec.Hash && md.Status.Stable != rev.Spec.Hash {
		return a.runAbort(ctx, c, t, reason, wait)
	}
	if md.Status.Stable != rev.Spec.Hash {
		return fmt.Errorf("%s cannot be rolled back: it does not serve, it is %s", t.id, rev.Status.Phase)
	}
	before, err := previous(ctx, c, t)
	if err != nil {
		return err
	}
	by, err := user(ctx, c)
	if err != nil {
		return explain(err)
	}
	given, err := givenUp(md, before.Spec.Template)
	if err != nil {
		return err
	}
	if given { // the same revision again
		md.Spec.Attempt++
	}
	md.Spec.Template = *before.Spec.Template.DeepCopy()
	md.Spec.RollbackOf, md.Spec.Abort, md.Spec.Promote, md.Spec.Resume, md.Spec.Paused, md.Spec.ReplaceBroken = rev.Spec.Hash, "", "", nil, false, ""
	md.Spec.Reason, md.Spec.RequestedBy = reason, by
	if err := change(ctx, c, md); err != nil {
		return err
	}
	return a.follow(ctx, c, md, wait, "")
}

// previous returns the record of the last deployment before t that served.
func previous(ctx context.Context, c client.Client, t *target) (*v1alpha1.ModelRevision, error) {
	var list v1alpha1.ModelRevisionList
	if err := c.List(ctx, &list, client.InNamespace(t.deployment.Namespace), client.MatchingLabels{render.LabelDeployment: t.deployment.Name}); err != nil {
		return nil, explain(err)
	}
	var best *v1alpha1.ModelRevision
	for i := range list.Items {
		r := &list.Items[i]
		if r.Spec.Hash == t.revision.Spec.Hash || r.Status.DeployedAt == nil || r.Status.Phase == v1alpha1.RolledBack {
			continue
		}
		if best == nil || best.Status.DeployedAt.Before(r.Status.DeployedAt) {
			best = r
		}
	}
	if best == nil {
		return nil, fmt.Errorf("there is no deployment before %s to go back to: see `deploy history %s`", t.id, t.id)
	}
	return best, nil
}

func (a *app) abort() *cobra.Command {
	var reason string
	var wait bool
	c := &cobra.Command{
		Use: "abort <deployment-id>", Short: "Abort a rollout: traffic goes back at once", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.on(ctx, args[0], func(c client.WithWatch, t *target) error { return a.runAbort(ctx, c, t, reason, wait) })
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "reason, for the record")
	a.outputs(c)
	a.waits(c, &wait)
	return c
}

// runAbort retries after concurrent changes: an abort outranks them as long as the
// same revision is being rolled out.
func (a *app) runAbort(ctx context.Context, c client.WithWatch, t *target, reason string, wait bool) error {
	for {
		if err := t.underWay(); err != nil {
			return err
		}
		md := &t.deployment
		md.Spec.Abort, md.Spec.Reason = t.revision.Spec.Hash, reason
		err := c.Update(ctx, md)
		switch {
		case err == nil:
			err = a.follow(ctx, c, md, wait, t.id)
			if exit := (*ExitError)(nil); errors.As(err, &exit) && exit.Code == ExitFailed {
				return nil // as requested
			}
			return err
		case !apierrors.IsConflict(err):
			return explain(fmt.Errorf("writing the ModelDeployment: %w", err))
		}
		if t, err = find(ctx, c, t.id); err != nil {
			return err
		}
	}
}

func (a *app) pause() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "pause <deployment-id>", Short: "Hold a rollout where it is", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.on(ctx, args[0], func(c client.WithWatch, t *target) error {
				if err := t.underWay(); err != nil {
					return err
				}
				t.deployment.Spec.Paused, t.deployment.Spec.Reason = true, reason
				if err := change(ctx, c, &t.deployment); err != nil {
					return err
				}
				return a.follow(ctx, c, &t.deployment, false, t.id)
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "reason, for the record")
	a.outputs(c)
	return c
}

func (a *app) resume() *cobra.Command {
	var wait, all bool
	c := &cobra.Command{
		Use: "resume <deployment-id>", Short: "Continue a rollout past its present pause", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.on(ctx, args[0], func(c client.WithWatch, t *target) error {
				if err := t.underWay(); err != nil {
					return err
				}
				md := &t.deployment
				if !md.Spec.Paused {
					md.Spec.Resume = &v1alpha1.StepOf{Revision: t.revision.Spec.Hash, Step: md.Status.Rollout.Step}
				}
				md.Spec.Paused = false
				if all { // an approval covers steps and gates
					var err error
					if md.Spec.RequestedBy, err = user(ctx, c); err != nil {
						return explain(err)
					}
					md.Spec.Promote = t.revision.Spec.Hash
					if in := md.Status.Rollout.Admitted; in != nil && in.ApprovedBy != "" {
						fmt.Fprintf(a.Err, "%s continues as %s approved it. Its steps are skipped once that is approved: `deploy approve %s`\n", t.id, in.ApprovedBy, t.id)
					}
				}
				if err := change(ctx, c, md); err != nil {
					return err
				}
				return a.follow(ctx, c, md, wait, t.id)
			})
		},
	}
	c.Flags().BoolVar(&all, "full", false, "skip the remaining steps and their gates")
	a.outputs(c)
	a.waits(c, &wait)
	return c
}

func (a *app) promote() *cobra.Command {
	var notes string
	var wait bool
	c := &cobra.Command{
		Use: "promote <staging-deployment-id>", Short: "Deploy the revision that runs in an environment to the next environment", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.on(ctx, args[0], func(c client.WithWatch, t *target) error { return a.runPromote(ctx, c, t, notes, wait) })
		},
	}
	c.Flags().StringVar(&notes, "notes", "", "notes, for the record")
	a.outputs(c)
	a.waits(c, &wait)
	return c
}

func (a *app) runPromote(ctx context.Context, c client.WithWatch, t *target, notes string, wait bool) error {
	if t.revision.Status.Phase != v1alpha1.Deployed {
		return fmt.Errorf("%s is %s: only a deployed revision can be promoted", t.id, t.revision.Status.Phase)
	}
	var envs v1alpha1.EnvironmentList
	if err := c.List(ctx, &envs); err != nil {
		return explain(err)
	}
	var to *v1alpha1.Environment
	for i := range envs.Items {
		if envs.Items[i].Spec.PromotesFrom == t.environment.Name {
			to = &envs.Items[i]
		}
	}
	if to == nil {
		return fmt.Errorf("no environment accepts models from %s (promotesFrom)", t.environment.Name)
	}
	from := &t.revision.Spec.Template
	digest := cmp.Or(from.Model.Digest, t.revision.Status.Digest)
	if digest == "" {
		return fmt.Errorf("the digest of the model in %s is not known yet: try again in a moment", t.id)
	}
	md := &v1alpha1.ModelDeployment{}
	err := c.Get(ctx, client.ObjectKey{Namespace: to.Spec.Namespace, Name: t.deployment.Name}, md)
	exists := err == nil
	if err != nil {
		if !apierrors.IsNotFound(err) {
			return explain(err)
		}
		md.Name, md.Namespace = t.deployment.Name, to.Spec.Namespace
		md.Annotations = map[string]string{render.AnnotationModel: from.Model.ID}
		fromEnvironment(md, to, from.Image)
	}
	// The model and the host stay the same. Resources are those of the environment.
	md.Spec.Template.Model = v1alpha1.ModelReference{ID: from.Model.ID, Version: from.Model.Version, Digest: digest}
	md.Spec.Template.Image, md.Spec.Template.Config, md.Spec.Template.Source = from.Image, from.Config, from.Source
	if exists {
		if md.Spec.Template.Attempt, err = unused(ctx, c, md); err != nil {
			return err
		}
	}
	md.Spec.Abort, md.Spec.Promote, md.Spec.RollbackOf, md.Spec.Resume, md.Spec.Paused, md.Spec.ReplaceBroken = "", "", "", nil, false, ""
	md.Spec.Reason = "promoted from " + t.id
	if notes != "" {
		md.Spec.Reason += ": " + notes
	}
	if md.Spec.RequestedBy, err = user(ctx, c); err != nil {
		return explain(err)
	}
	if exists {
		err = change(ctx, c, md)
	} else {
		err = c.Create(ctx, md)
	}
	if err != nil {
		return explain(err)
	}
	return a.follow(ctx, c, md, wait, "")
}
