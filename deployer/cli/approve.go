package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
	"github.com/pynomaly/pynomaly-runtime/internal/printable"
)

// shownRevision is what an approver sees: everything that an approval covers, as the
// difference to what runs.
type shownRevision struct {
	Deployment
	// Approves is the digest of the request; empty if the deployment is not what is
	// requested now.
	Approves string    `json:"approves,omitempty"`
	Now      string    `json:"runs_now,omitempty"`
	Diff     shownDiff `json:"difference"`
}

func (a *app) show() *cobra.Command {
	var svg string
	c := &cobra.Command{
		Use: "show <deployment-id>", Short: "Show what an approval of a deployment covers, as the difference to what runs", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.on(ctx, args[0], func(c client.WithWatch, t *target) error {
				if svg != "" {
					return a.drawTo(svg, t)
				}
				s, err := look(ctx, c, t)
				if err != nil {
					return err
				}
				return a.print(s, s.write)
			})
		},
	}
	c.Flags().StringVar(&svg, "svg", "", "write a drawing of the rollout, finished or not, to this file (-: standard output) instead")
	a.outputs(c)
	return c
}

// look compares a revision with what runs. It compares the strategy with that of the
// Environment, because records have none.
func look(ctx context.Context, c client.Client, t *target) (*shownRevision, error) {
	md, rev := &t.deployment, &t.revision
	s := &shownRevision{Deployment: summary(rev, md)}
	asked, err := current(t)
	if err != nil {
		return nil, err
	}
	contents := render.Contents{Environment: t.environment.Name, Namespace: md.Namespace, Name: md.Name, Template: rev.Spec.Template}
	before := render.Contents{Environment: contents.Environment, Namespace: contents.Namespace, Name: contents.Name}
	if asked {
		if contents, err = render.ContentsOf(md); err != nil {
			return nil, err
		}
		if s.Approves, err = contents.Digest(); err != nil {
			return nil, err
		}
		if e := t.environment.Spec.Strategy; e != nil {
			before.Rollout = render.ChecksOf(*e)
		}
	}
	switch stable := md.Status.Stable; stable {
	case "":
		// No template runs, so all of this one is new.
		s.Diff, err = compare(struct {
			Rollout render.Checks `json:"rollout"`
		}{before.Rollout}, contents)
		return s, err
	case rev.Spec.Hash:
		s.Now, before.Template = rev.Spec.DeploymentID, rev.Spec.Template
	default:
		runs, err := recordOf(ctx, c, md, stable)
		if err != nil {
			return nil, err
		}
		s.Now, before.Template = runs.Spec.DeploymentID, runs.Spec.Template
	}
	s.Diff, err = compare(before, contents)
	return s, err
}

// current reports whether a revision is what is requested now.
func current(t *target) (bool, error) {
	hash, err := render.Hash(t.deployment.Spec.Template)
	return hash == t.revision.Spec.Hash, err
}

func (s *shownRevision) write(out fmtWriter) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	message := s.Message
	if message == s.Approval {
		message = ""
	}
	for _, row := range [][2]string{
		{"deployment", s.ID}, {"model", s.Model + "@" + s.Version}, {"status", s.Status}, {"message", message}, {"warning", s.Warning}, {"requested by", s.RequestedBy}, {"reason", s.Reason},
		{"approval", s.Approval}, {"runs now", cmp.Or(s.Now, "nothing")}, {"digest", s.Approves},
	} {
		if row[1] != "" {
			fmt.Fprintf(w, "%s:\t%s\n", row[0], printable.Line(row[1]))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if s.Now == "" {
		fmt.Fprintln(out, "\nAll of it is new. Difference to the strategy of the Environment:")
	} else {
		fmt.Fprintf(out, "\nDifference to %s, and to the strategy of the Environment:\n", s.Now)
	}
	if len(s.Diff.lines) == 0 {
		fmt.Fprintln(out, "  none")
	}
	return s.Diff.write(out)
}

func (a *app) approve() *cobra.Command {
	var notes, digest string
	c := &cobra.Command{
		Use: "approve <deployment-id>", Short: "Approve a deployment that somebody else requested", Args: cobra.ExactArgs(1),
		Long: "Approve a deployment that somebody else requested. Without --digest the command shows the request, as the difference\n" +
			"to what runs, and its digest. With --digest it approves exactly that request.",
		Example: "  pynomaly-runtime deploy approve cardio-production-2\n  pynomaly-runtime deploy approve cardio-production-2 --digest sha256:...",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.on(ctx, args[0], func(c client.WithWatch, t *target) error {
				by, err := user(ctx, c)
				if err != nil {
					return explain(err)
				}
				return a.runApprove(ctx, c, t, by, digest, notes)
			})
		},
	}
	c.Flags().StringVar(&digest, "digest", "", "digest of the request, which the command prints without this flag")
	c.Flags().StringVar(&notes, "notes", "", "notes, for the record")
	a.outputs(c)
	return c
}

var errNotApproved = errors.New("nothing is approved yet")

func (a *app) runApprove(ctx context.Context, c client.Client, t *target, by, digest, notes string) error {
	asked, err := current(t)
	switch rev := &t.revision; {
	case err != nil:
		return err
	case !asked:
		return fmt.Errorf("%s is not what is requested now: see `deploy history %s`", t.id, t.id)
	case !t.environment.Spec.ApprovalRequired:
		return fmt.Errorf("%s takes no approvals", t.environment.Name)
	case rev.Spec.Template.Model.Digest == "":
		return fmt.Errorf("%s has no digest of its model, which an approval needs", t.id)
	case by == rev.Spec.RequestedBy || by == t.deployment.Spec.RequestedBy:
		return fmt.Errorf("%s requested %s and cannot approve it: somebody else must", by, t.id)
	}
	s, err := look(ctx, c, t)
	if err != nil {
		return err
	}
	if digest != s.Approves {
		if err := a.print(s, s.write); err != nil {
			return err
		}
		if digest == "" {
			return fmt.Errorf("%w: to approve what is shown, run `deploy approve %s --digest %s`", errNotApproved, t.id, s.Approves)
		}
		return &ExitError{ExitConflict, fmt.Errorf("%w: %s was changed and no longer has the digest %s", errNotApproved, t.id, digest)}
	}
	ends := metav1.NewTime(a.Now().Add(t.environment.Spec.Lifetime()))
	approval := &v1alpha1.ModelApproval{
		ObjectMeta: metav1.ObjectMeta{GenerateName: t.revision.Name + "-", Namespace: t.revision.Namespace},
		Spec: v1alpha1.ModelApprovalSpec{
			Model: t.revision.Spec.Template.Model, Environment: t.environment.Name, Revision: t.revision.Spec.DeploymentID,
			Digest: digest, ExpiresAt: &ends, ApprovedBy: by, Notes: notes,
		},
	}
	if err := c.Create(ctx, approval); err != nil {
		return explain(fmt.Errorf("approving %s: %w", t.id, err))
	}
	return a.print(approval.Spec, func(out fmtWriter) error {
		_, err := fmt.Fprintf(out, "%s: approved by %s until %s\n", t.id, by, ends.UTC().Format(time.RFC3339))
		return err
	})
}
