package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
	"github.com/pynomaly/pynomaly-runtime/internal/printable"
)

func (a *app) deploy() *cobra.Command {
	w := &wish{}
	c := &cobra.Command{
		Use: "deploy <model>[@<version>]", Short: "Roll out a version of a model", Args: cobra.ExactArgs(1),
		Example: "  pynomaly-runtime deploy deploy pima-lof@1.0.0 --env staging --strategy canary --wait",
		RunE:    func(cmd *cobra.Command, args []string) error { return a.runDeploy(cmd.Context(), w, args[0]) },
	}
	w.flags(c)
	a.outputs(c)
	a.waits(c, &w.wait)
	return c
}

func (a *app) runDeploy(ctx context.Context, w *wish, name string) error {
	if err := w.valid(name); err != nil {
		return err
	}
	c, err := a.connect()
	if err != nil {
		return err
	}
	md, exists, err := a.wanted(ctx, c, w, name)
	if err != nil {
		return err
	}
	if md.Spec.RequestedBy, err = user(ctx, c); err != nil {
		return explain(err)
	}
	if exists {
		err = change(ctx, c, md)
	} else if err = c.Create(ctx, md); apierrors.IsAlreadyExists(err) {
		err = &ExitError{ExitConflict, fmt.Errorf("somebody else has just deployed it: check `deploy list`, then repeat the command: %w", err)}
	}
	if err != nil {
		return explain(err)
	}
	return a.follow(ctx, c, md, w.wait, "")
}

// wanted makes the requested ModelDeployment from the existing one or from the
// environment's defaults.
func (a *app) wanted(ctx context.Context, c client.Client, w *wish, name string) (*v1alpha1.ModelDeployment, bool, error) {
	id, version, _ := strings.Cut(name, "@")
	var env v1alpha1.Environment
	if err := c.Get(ctx, client.ObjectKey{Name: w.environment}, &env); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, false, fmt.Errorf("there is no environment %q: `deploy environments` lists them, `deploy install` makes the default ones", w.environment)
		}
		return nil, false, explain(err)
	}
	m, err := a.Resolve(w.models, id, version)
	switch {
	case err != nil && version == "":
		return nil, false, fmt.Errorf("which version of %s? %w", id, err)
	case err != nil && w.digest == "":
		fmt.Fprintf(a.Err, "the digest of %s is not known here (%v): pods are not checked for the right contents\n", name, err)
	case err == nil && m.Stateful:
		fmt.Fprintf(a.Err, "%s is stateful: each pod learns by itself, and a new revision starts without state\n", id)
	}
	if version == "" {
		version = m.Version
	}
	model := v1alpha1.ModelReference{ID: id, Version: version, Digest: cmp.Or(w.digest, m.Digest)}
	if err := render.ValidModel(model); err != nil {
		return nil, false, err
	}
	md := &v1alpha1.ModelDeployment{}
	key := client.ObjectKey{Namespace: env.Spec.Namespace, Name: render.BaseName(id)}
	err = c.Get(ctx, key, md)
	exists := err == nil
	if err != nil {
		if !apierrors.IsNotFound(err) {
			return nil, false, explain(err)
		}
		md.Name, md.Namespace = key.Name, key.Namespace
		md.Annotations = map[string]string{render.AnnotationModel: id}
		fromEnvironment(md, &env, a.Image)
	}
	before := md.Spec.Template.DeepCopy()
	t := &md.Spec.Template
	t.Model = model
	if err := w.into(md); err != nil {
		return nil, false, err
	}
	t.Attempt = 0
	if exists && equality.Semantic.DeepEqual(withoutAttempt(*before), *t) {
		// The same request again. If it was given up, make another attempt.
		t.Attempt = before.Attempt
		if given, err := givenUp(md, *before); err != nil {
			return nil, false, err
		} else if given {
			t.Attempt++
		}
	} else if exists {
		if t.Attempt, err = unused(ctx, c, md); err != nil {
			return nil, false, err
		}
	}
	md.Spec.Abort, md.Spec.Promote, md.Spec.RollbackOf, md.Spec.Resume, md.Spec.Paused = "", "", "", nil, false
	md.Spec.Reason = w.reason
	return md, exists, w.replaces(md)
}

// givenUp reports whether the rollout of a template was given up, or is to be. It
// needs another attempt, because it stays given up.
func givenUp(md *v1alpha1.ModelDeployment, t v1alpha1.RevisionTemplate) (bool, error) {
	hash, err := render.Hash(t)
	if err != nil {
		return false, fmt.Errorf("looking for an earlier attempt: %w", err)
	}
	s := &md.Status
	failed := s.Update == hash && s.Stable != hash && (s.Phase == v1alpha1.Failed || s.Phase == v1alpha1.RolledBack)
	return failed || s.Rollout.Aborted == hash || (md.Spec.Abort == hash && s.Stable != hash), nil
}

func withoutAttempt(t v1alpha1.RevisionTemplate) v1alpha1.RevisionTemplate {
	t.Attempt = 0
	return t
}

// unused returns an attempt at the template that no earlier deployment used. The
// stable revision is not attempted again: requesting it undoes the rollout in
// progress.
func unused(ctx context.Context, c client.Client, md *v1alpha1.ModelDeployment) (int32, error) {
	var list v1alpha1.ModelRevisionList
	if err := c.List(ctx, &list, client.InNamespace(md.Namespace), client.MatchingLabels{render.LabelDeployment: md.Name}); err != nil {
		return 0, explain(err)
	}
	next := int32(0)
	for i := range list.Items {
		if t := list.Items[i].Spec.Template; equality.Semantic.DeepEqual(withoutAttempt(t), withoutAttempt(md.Spec.Template)) {
			if list.Items[i].Spec.Hash == md.Status.Stable {
				return t.Attempt, nil
			}
			next = max(next, t.Attempt+1)
		}
	}
	return next, nil
}

// fromEnvironment sets the environment's defaults in a new deployment.
func fromEnvironment(md *v1alpha1.ModelDeployment, env *v1alpha1.Environment, image string) {
	e := env.Spec.DeepCopy()
	md.Spec.Environment, md.Spec.Replicas, md.Spec.Autoscaling, md.Spec.Traffic = env.Name, e.Replicas, e.Autoscaling, e.Traffic
	md.Spec.Strategy = v1alpha1.Strategy{Type: v1alpha1.Rolling}
	if e.Strategy != nil {
		md.Spec.Strategy = *e.Strategy
	}
	t := &md.Spec.Template
	t.Image, t.ImagePullPolicy, t.Resources = image, e.ImagePullPolicy, e.Resources
	if e.Image != "" {
		t.Image = e.Image
	}
	if t.ImagePullPolicy == "" {
		t.ImagePullPolicy = corev1.PullIfNotPresent
	}
	t.Source = v1alpha1.Source{Type: "image"}
}

// into applies the flags to a deployment.
func (w *wish) into(md *v1alpha1.ModelDeployment) error {
	t := &md.Spec.Template
	if w.replicas >= 0 {
		md.Spec.Replicas = w.replicas
		if s := md.Spec.Autoscaling; s != nil { // the minimum, then
			s.MinReplicas = max(1, w.replicas)
			s.MaxReplicas = max(s.MaxReplicas, s.MinReplicas)
		}
	}
	if w.image != "" {
		t.Image = w.image
	}
	if w.pullPolicy != "" {
		t.ImagePullPolicy = corev1.PullPolicy(w.pullPolicy)
	}
	w.intoSource(t)
	if w.samples >= 0 {
		t.Samples = w.samples
	}
	for name, value := range w.config {
		if t.Config == nil {
			t.Config = map[string]string{}
		}
		if t.Config[name] = value; value == "" {
			delete(t.Config, name)
		}
	}
	if err := w.intoResources(t); err != nil {
		return err
	}
	if w.strategy != "" && w.strategy != md.Spec.Strategy.Type {
		md.Spec.Strategy.Type, md.Spec.Strategy.Steps = w.strategy, nil
	}
	if w.steps != "" {
		steps, err := parseSteps(w.steps)
		if err != nil {
			return err
		}
		md.Spec.Strategy.Steps = steps
	}
	if w.gateway != "" {
		namespace, name := render.SplitName(w.gateway)
		md.Spec.Traffic.Gateway = &v1alpha1.GatewayReference{Namespace: namespace, Name: name}
	}
	if w.prefix != "" {
		md.Spec.Traffic.PathPrefix = w.prefix
	}
	if w.hostnames != nil {
		md.Spec.Traffic.Hostnames = w.hostnames
	}
	return nil
}

// intoSource applies the flags for the source of models.
func (w *wish) intoSource(t *v1alpha1.RevisionTemplate) {
	if w.claim != "" {
		t.Source = v1alpha1.Source{Type: "pvc", Claim: w.claim}
	}
	if w.baked {
		t.Source = v1alpha1.Source{Type: "image"}
	}
	if w.reference != "" {
		t.Source = v1alpha1.Source{Type: "oci", Reference: w.reference, PullSecret: w.pullSecret, PlainHTTP: w.plainHTTP, AuthHosts: w.authHosts}
	}
}

// intoResources applies the flags for requests and limits.
func (w *wish) intoResources(t *v1alpha1.RevisionTemplate) error {
	for i, text := range w.resources {
		if text == "" {
			continue
		}
		q, err := resource.ParseQuantity(text)
		if err != nil {
			return fmt.Errorf("%q is not a quantity such as 500m or 1Gi: %w", text, err)
		}
		list, name := &t.Resources.Requests, corev1.ResourceCPU
		if i%2 == 1 {
			list = &t.Resources.Limits
		}
		if i >= 2 {
			name = corev1.ResourceMemory
		}
		if *list == nil {
			*list = corev1.ResourceList{}
		}
		(*list)[name] = q
	}
	return nil
}

// follow prints the deployment's id or, if wait is set, its progress until it has
// ended.
func (a *app) follow(ctx context.Context, c client.WithWatch, md *v1alpha1.ModelDeployment, wait bool, id string) error {
	if err := a.taken(ctx, c, md); err != nil {
		if errors.Is(err, errNoController) && !wait {
			return a.print(recorded(md, id, err), func(io.Writer) error {
				_, err := fmt.Fprintf(a.Err, "%s is recorded, but %v\n", md.Name, err)
				return err
			})
		}
		return err
	}
	rev, err := revisionOf(ctx, c, md)
	if err != nil {
		return err
	}
	if id == "" {
		id = rev.Spec.DeploymentID
	}
	if !wait {
		s := summary(rev, md)
		err := a.print(s, func(out fmtWriter) error {
			text := fmt.Sprintf("%s: %s\n", s.ID, s.Status)
			if s.Warning != "" {
				text += "warning: " + printable.Line(s.Warning) + "\n"
			}
			_, err := io.WriteString(out, text)
			return err
		})
		if _, over := ended(id, md, rev); over != nil { // it has failed already, or somebody else was faster
			return errors.Join(err, over)
		}
		return err
	}
	return a.watch(ctx, c, md, rev, id)
}

// recorded describes a request that the controller has not processed. Without an id,
// it asks for a revision that has no record, and so no id, yet.
func recorded(md *v1alpha1.ModelDeployment, id string, why error) Deployment {
	t := &md.Spec.Template
	d := Deployment{
		ID: id, Model: t.Model.ID, Version: t.Model.Version, Digest: t.Model.Digest, Environment: md.Spec.Environment, Status: v1alpha1.Pending,
		Message: fmt.Sprintf("the request is recorded, but %v", why), Strategy: md.Spec.Strategy.Type, Replicas: &md.Spec.Replicas, Image: t.Image,
		RequestedBy: md.Spec.RequestedBy, Reason: md.Spec.Reason, Created: md.CreationTimestamp.UTC(),
	}
	if id != "" {
		d.Status = cmp.Or(md.Status.Phase, v1alpha1.Pending)
	}
	return d
}

// revisionOf finds the record of the revision that a deployment's template requests.
func revisionOf(ctx context.Context, c client.Client, md *v1alpha1.ModelDeployment) (*v1alpha1.ModelRevision, error) {
	hash, err := render.Hash(md.Spec.Template)
	if err != nil {
		return nil, err
	}
	return recordOf(ctx, c, md, hash)
}

// recordOf finds the record of a revision.
func recordOf(ctx context.Context, c client.Client, md *v1alpha1.ModelDeployment, hash string) (*v1alpha1.ModelRevision, error) {
	var list v1alpha1.ModelRevisionList
	if err := c.List(ctx, &list, client.InNamespace(md.Namespace), client.MatchingLabels{render.LabelDeployment: md.Name, render.LabelRevision: hash}); err != nil {
		return nil, explain(err)
	}
	if len(list.Items) == 0 {
		if s := meta.FindStatusCondition(md.Status.Conditions, v1alpha1.ConditionStalled); s != nil && s.Status == metav1.ConditionTrue && s.ObservedGeneration == md.Generation {
			return nil, fmt.Errorf("%s is recorded, but nothing has been done yet: %s", md.Name, s.Message)
		}
		return nil, fmt.Errorf("revision %s of %s is gone: somebody changed the deployment", hash, md.Name)
	}
	return &list.Items[0], nil
}
