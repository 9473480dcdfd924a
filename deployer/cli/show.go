package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
	"github.com/pynomaly/pynomaly-runtime/internal/printable"
)

// Deployment is what the commands show of a deployment.
type Deployment struct {
	ID          string             `json:"deployment_id"`
	Model       string             `json:"model_id"`
	Version     string             `json:"model_version"`
	Digest      string             `json:"digest,omitempty"`
	Environment string             `json:"environment"`
	Status      string             `json:"status"`
	Message     string             `json:"message,omitempty"`
	Strategy    string             `json:"strategy,omitempty"`
	Replicas    *int32             `json:"replicas,omitempty"`
	Serving     bool               `json:"serving"`
	Pods        *v1alpha1.PodCount `json:"pods,omitempty"`
	Weight      *int32             `json:"weight,omitempty"`
	Step        *int32             `json:"step,omitempty"`
	State       string             `json:"state,omitempty"`
	Image       string             `json:"image"`
	RequestedBy string             `json:"requested_by,omitempty"`
	Reason      string             `json:"reason,omitempty"`
	Created     time.Time          `json:"created_at"`
	Deployed    *time.Time         `json:"deployed_at,omitempty"`
	Finished    *time.Time         `json:"finished_at,omitempty"`
	Verdicts    []v1alpha1.Verdict `json:"gates,omitempty"`
	// Stalled says why the controller cannot go on, if the message does not.
	Stalled string `json:"stalled,omitempty"`
	// Drifted says what somebody else has changed by hand last, and that it was put back.
	Drifted string `json:"drifted,omitempty"`
	// Promotion says which gates decided that it serves, and on how many samples.
	Promotion string `json:"promotion,omitempty"`
	// Approval is the state of the approval, if the environment requires one.
	Approval string `json:"approval,omitempty"`
	// Warning says what clients will notice of the rollout.
	Warning string `json:"warning,omitempty"`
	// History is how the rollout went; only of one deployment.
	History []v1alpha1.Moment `json:"history,omitempty"`
}

func summary(rev *v1alpha1.ModelRevision, md *v1alpha1.ModelDeployment) Deployment {
	t := rev.Spec.Template
	d := Deployment{
		ID: rev.Spec.DeploymentID, Model: t.Model.ID, Version: t.Model.Version, Digest: cmp.Or(t.Model.Digest, rev.Status.Digest), Environment: rev.Spec.Environment,
		Status: cmp.Or(rev.Status.Phase, v1alpha1.Pending), Message: rev.Status.Message, Image: t.Image, RequestedBy: rev.Spec.RequestedBy,
		Reason: rev.Spec.Reason, Created: rev.CreationTimestamp.UTC(),
	}
	if at := rev.Status.DeployedAt; at != nil {
		d.Deployed = &at.Time
	}
	if at := rev.Status.FinishedAt; at != nil {
		d.Finished = &at.Time
	}
	if md == nil {
		return d
	}
	s := &md.Status
	if c := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionDrifted); c != nil && (s.Stable == rev.Spec.Hash || s.Update == rev.Spec.Hash) {
		d.Drifted = c.Message
	}
	if d.Serving = s.Stable == rev.Spec.Hash; d.Serving {
		d.Promotion, d.Pods = s.Promotion, s.Serving
	}
	if s.Update == rev.Spec.Hash {
		if !d.Serving {
			d.Pods = s.Arriving
		}
		if c := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionStalled); c != nil && c.Status == metav1.ConditionTrue && c.Message != d.Message {
			d.Stalled = c.Message
		}
		d.Strategy, d.Replicas = md.Spec.Strategy.Type, &md.Spec.Replicas
		d.Weight, d.State, d.Verdicts = &s.Rollout.Weight, s.Rollout.State, s.Verdicts
		if c := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionApproved); c != nil {
			d.Approval = c.Message
		}
		if s.Update != s.Stable {
			d.Step, d.Warning = &s.Rollout.Step, s.Rollout.Warning
		}
	}
	return d
}

// everything lists the deployments of an environment, or of all if environment is
// empty.
func everything(ctx context.Context, c client.Client, environment string) ([]Deployment, error) {
	var in []client.ListOption
	if environment != "" {
		var env v1alpha1.Environment
		if err := c.Get(ctx, client.ObjectKey{Name: environment}, &env); err != nil {
			return nil, explain(fmt.Errorf("reading environment %s: %w", environment, err))
		}
		in = append(in, client.InNamespace(env.Spec.Namespace))
	}
	var revisions v1alpha1.ModelRevisionList
	var deployments v1alpha1.ModelDeploymentList
	for _, list := range []client.ObjectList{&revisions, &deployments} {
		if err := c.List(ctx, list, in...); err != nil {
			return nil, explain(err)
		}
	}
	by := map[string]*v1alpha1.ModelDeployment{}
	for i := range deployments.Items {
		by[deployments.Items[i].Namespace+"/"+deployments.Items[i].Name] = &deployments.Items[i]
	}
	out := []Deployment{}
	for i := range revisions.Items {
		rev := &revisions.Items[i]
		out = append(out, summary(rev, by[rev.Namespace+"/"+rev.Labels[render.LabelDeployment]]))
	}
	slices.SortFunc(out, func(a, b Deployment) int {
		return cmp.Or(cmp.Compare(a.Environment, b.Environment), cmp.Compare(a.Model, b.Model), b.Created.Compare(a.Created), cmp.Compare(b.ID, a.ID))
	})
	return out, nil
}

// ready says how many of its pods are ready.
func (d *Deployment) ready() string {
	if d.Pods == nil {
		return "-"
	}
	return fmt.Sprintf("%d/%d", d.Pods.Ready, d.Pods.Wanted)
}

func table(all []Deployment) func(fmtWriter) error {
	return func(out fmtWriter) error {
		w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "DEPLOYMENT\tVERSION\tENVIRONMENT\tSTATUS\tREADY\tWEIGHT\tSERVING\tREQUESTED BY\tCREATED")
		for _, d := range all {
			weight := "-"
			if d.Weight != nil {
				weight = fmt.Sprint(*d.Weight)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%t\t%s\t%s\n", d.ID, d.Version, d.Environment, d.Status, d.ready(), weight, d.Serving, d.RequestedBy, d.Created.Format(time.RFC3339))
		}
		return w.Flush()
	}
}

func (a *app) list() *cobra.Command {
	var environment, status string
	c := &cobra.Command{
		Use: "list", Short: "List deployments", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if status != "" && !slices.Contains([]string{
				v1alpha1.Pending, v1alpha1.Deploying, v1alpha1.Paused, v1alpha1.Deployed, v1alpha1.RollingBack, v1alpha1.RolledBack, v1alpha1.Failed, v1alpha1.Superseded,
			}, status) {
				return fmt.Errorf("--status %q is not one of pending, deploying, paused, deployed, rolling_back, rolled_back, failed, superseded", status)
			}
			c, err := a.connect()
			if err != nil {
				return err
			}
			all, err := everything(cmd.Context(), c, environment)
			if err != nil {
				return err
			}
			if status != "" {
				all = slices.DeleteFunc(all, func(d Deployment) bool { return d.Status != status })
			}
			return a.print(all, table(all))
		},
	}
	c.Flags().StringVar(&environment, "env", "", "only of this environment")
	c.Flags().StringVar(&status, "status", "", "only with this status")
	a.outputs(c)
	return c
}

func (a *app) status() *cobra.Command {
	c := &cobra.Command{
		Use: "status <deployment-id>", Short: "Show a deployment", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			t, err := find(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			d := summary(&t.revision, &t.deployment)
			d.History = historyOf(t)
			return a.print(d, func(out fmtWriter) error { return errors.Join(describe(out, d), picture(out, d.History, a.Now())) })
		},
	}
	a.outputs(c)
	return c
}

// historyOf returns how the last rollout of a revision went: of the present one, as the
// deployment's status says it, and of an earlier one, as its record does.
func historyOf(t *target) []v1alpha1.Moment {
	if s := &t.deployment.Status; s.Update == t.revision.Spec.Hash && len(s.Rollout.History) > 0 {
		return s.Rollout.History
	}
	return t.revision.Status.History
}

func describe(out fmtWriter, d Deployment) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s:\t%s\n", name, printable.Line(value))
		}
	}
	row("deployment", d.ID)
	row("status", d.Status)
	row("message", d.Message)
	row("stalled", d.Stalled)
	row("warning", d.Warning)
	row("drifted", d.Drifted)
	row("ready", d.ready())
	row("model", d.Model+"@"+d.Version)
	row("digest", d.Digest)
	row("environment", d.Environment)
	row("serving", fmt.Sprint(d.Serving))
	row("strategy", d.Strategy)
	if d.Weight != nil {
		row("weight", fmt.Sprintf("%d %%", *d.Weight))
	}
	row("state", d.State)
	row("image", d.Image)
	row("requested by", d.RequestedBy)
	row("approval", d.Approval)
	row("reason", d.Reason)
	row("created", d.Created.Format(time.RFC3339))
	if d.Deployed != nil {
		row("deployed", d.Deployed.UTC().Format(time.RFC3339))
	}
	if d.Finished != nil {
		row("finished", d.Finished.UTC().Format(time.RFC3339))
	}
	row("promoted", d.Promotion)
	for _, v := range d.Verdicts {
		row("gate "+v.Gate, strings.TrimSpace(fmt.Sprintf("%s (n %d, %s against a limit of %s) %s", v.Result, v.N, v.Statistic, v.Limit, v.Message)))
	}
	return w.Flush()
}

func (a *app) history() *cobra.Command {
	c := &cobra.Command{
		Use: "history <deployment-id>", Short: "List the deployments of the same model in the same environment", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			t, err := find(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			all, err := everything(cmd.Context(), c, t.environment.Name)
			if err != nil {
				return err
			}
			all = slices.DeleteFunc(all, func(d Deployment) bool { return d.Model != t.revision.Spec.Template.Model.ID })
			return a.print(all, table(all))
		},
	}
	a.outputs(c)
	return c
}

// shownEvent is one line of deploy events.
type shownEvent struct {
	Time    time.Time `json:"time"`
	Type    string    `json:"type"`
	Reason  string    `json:"reason"`
	Object  string    `json:"object"`
	Message string    `json:"message"`
}

func (a *app) events() *cobra.Command {
	c := &cobra.Command{
		Use: "events <deployment-id>", Short: "Show the cluster's events for a deployment and its pods", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			t, err := find(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			var list corev1.EventList
			if err := c.List(cmd.Context(), &list, client.InNamespace(t.deployment.Namespace)); err != nil {
				return explain(err)
			}
			pods := render.RevisionName(&t.deployment, t.revision.Spec.Hash)
			kept := slices.DeleteFunc(list.Items, func(e corev1.Event) bool {
				return !strings.HasPrefix(e.InvolvedObject.Name, pods) && !strings.HasPrefix(e.Message, t.id+":")
			})
			slices.SortFunc(kept, func(a, b corev1.Event) int { return a.LastTimestamp.Compare(b.LastTimestamp.Time) })
			shown := make([]shownEvent, 0, len(kept))
			for i := range kept {
				e := &kept[i]
				shown = append(shown, shownEvent{e.LastTimestamp.UTC(), e.Type, e.Reason, e.InvolvedObject.Kind + "/" + e.InvolvedObject.Name, e.Message})
			}
			return a.print(shown, func(out fmtWriter) error {
				w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
				for _, e := range shown {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", e.Time.Format(time.RFC3339), e.Type, e.Reason, e.Object, e.Message)
				}
				return w.Flush()
			})
		},
	}
	a.outputs(c)
	return c
}

func (a *app) environments() *cobra.Command {
	var only string
	c := &cobra.Command{
		Use: "environments", Short: "List environments and their defaults", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			var list v1alpha1.EnvironmentList
			if err := c.List(cmd.Context(), &list); err != nil {
				return explain(err)
			}
			items := slices.DeleteFunc(list.Items, func(e v1alpha1.Environment) bool { return only != "" && e.Name != only })
			if only != "" && len(items) == 0 {
				return fmt.Errorf("there is no environment %q", only)
			}
			shown := make([]shownEnvironment, 0, len(items))
			for i := range items {
				shown = append(shown, shownEnvironment{items[i].Name, items[i].Spec})
			}
			return a.print(shown, func(out fmtWriter) error {
				w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
				fmt.Fprintln(w, "ENVIRONMENT\tNAMESPACE\tREPLICAS\tCPU\tMEMORY\tPROMOTES FROM\tAPPROVAL\tWITHOUT KEY\tIMAGES\tCLAIMS")
				for _, e := range shown {
					r := e.Spec.Resources
					images := cmp.Or(strings.Join(append([]string{e.Spec.Image}, e.Spec.Images...), ", "), "none")
					if len(e.Spec.Images) == 0 && !e.Spec.ApprovalRequired {
						images = "any"
					}
					fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%t\t%s\t%s\t%s\n", e.Name, e.Spec.Namespace, e.Spec.Replicas, between(r.Requests.Cpu().String(), r.Limits.Cpu().String()),
						between(r.Requests.Memory().String(), r.Limits.Memory().String()), cmp.Or(e.Spec.PromotesFrom, "-"), e.Spec.ApprovalRequired, e.withoutKey(), images, cmp.Or(strings.Join(e.Spec.Claims, ", "), "none"))
				}
				return w.Flush()
			})
		},
	}
	c.Flags().StringVar(&only, "env", "", "only this environment")
	a.outputs(c)
	return c
}

type shownEnvironment struct {
	Name string                   `json:"name"`
	Spec v1alpha1.EnvironmentSpec `json:"spec"`
}

// withoutKey says what callers without credentials may do.
func (e *shownEnvironment) withoutKey() string {
	if *e.Spec.Access.WithDefaults(e.Name).AnonymousPredict {
		return "predict"
	}
	return "nothing"
}

func between(request, limit string) string {
	if limit == "0" || limit == request {
		return request
	}
	return request + " to " + limit
}
