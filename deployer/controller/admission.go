package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// refusal is the reason why no object is made for a ModelDeployment.
type refusal struct{ reason, message string }

func (e *refusal) Error() string { return e.message }

// refused returns what is wrong with a ModelDeployment itself. The reconciler calls
// it before it writes anything.
func (r *Reconciler) refused(ctx context.Context, md *v1alpha1.ModelDeployment) error {
	if render.SystemNamespace(md.Namespace, r.Namespace) {
		return &refusal{"SystemNamespace", fmt.Sprintf("namespace %s belongs to the system: models are not deployed there", md.Namespace)}
	}
	if err := render.ValidModel(md.Spec.Template.Model); err != nil {
		return &refusal{"InvalidModel", err.Error()}
	}
	if want := render.BaseName(md.Spec.Template.Model.ID); md.Name != want {
		return &refusal{"InvalidName", fmt.Sprintf("the ModelDeployment of model %q must be named %q", md.Spec.Template.Model.ID, want)}
	}
	if md.Status.Stable != "" { // its namespace was checked before it was first deployed
		return nil
	}
	_, err := r.environment(ctx, md)
	return err
}

// environment reads the Environment of a ModelDeployment. The error is a refusal if
// there is no such Environment or if the ModelDeployment is in another namespace.
func (r *Reconciler) environment(ctx context.Context, md *v1alpha1.ModelDeployment) (*v1alpha1.Environment, error) {
	var env v1alpha1.Environment
	err := r.Get(ctx, client.ObjectKey{Name: md.Spec.Environment}, &env)
	switch {
	case apierrors.IsNotFound(err):
		return nil, &refusal{"NoEnvironment", fmt.Sprintf("there is no Environment %q: `deploy install` makes the usual ones", md.Spec.Environment)}
	case err != nil:
		return nil, fmt.Errorf("reading the Environment: %w", err)
	case env.Spec.Namespace != md.Namespace:
		return nil, &refusal{"WrongNamespace", fmt.Sprintf("deployments to %s belong in namespace %s, not %s", env.Name, env.Spec.Namespace, md.Namespace)}
	}
	return &env, nil
}

// letIn decides whether a rollout may begin, and with which strategy. Conditions are
// checked only before a rollout: an approval that expires later, or a list that
// changes, does not stop it. The rollout keeps to what was approved: a changed
// strategy counts only after the change is approved.
func (r *Reconciler) letIn(ctx context.Context, md *v1alpha1.ModelDeployment, revision *v1alpha1.ModelRevision, s *sight) error {
	contents, err := render.ContentsOf(md)
	if err != nil {
		return err
	}
	if s.digest, err = contents.Digest(); err != nil {
		return err
	}
	if revision.Status.DeployedAt != nil || revision.Spec.Hash == md.Status.Stable {
		return nil // a version that was deployed before may always return
	}
	now := metav1.NewTime(r.Now())
	fresh := &v1alpha1.Admission{Digest: s.digest, At: now}
	in := underWay(md, revision, fresh)
	if in != nil && (in.ApprovedBy == "" || in.Digest == s.digest) {
		s.world.Admission = in
		return nil
	}
	env, err := r.environment(ctx, md)
	if no := (*refusal)(nil); errors.As(err, &no) && in == nil {
		s.world.Blocked = no.message
		return nil
	} else if err != nil && no == nil {
		return err
	}
	if in == nil {
		if s.world.Blocked, err = r.blocked(ctx, env, revision); err != nil || s.world.Blocked != "" {
			return err
		}
		if !env.Spec.ApprovalRequired {
			s.world.Admission = fresh
			return nil
		}
	}
	a := approval{reason: reasonWaiting, message: "the Environment does not exist"}
	if env != nil {
		if a, err = r.approved(ctx, md, revision, env, s.digest); err != nil {
			return err
		}
	}
	s.approval = &a
	switch {
	case a.reason == reasonApproved:
		fresh.ApprovedBy, fresh.Approval, fresh.Strategy = a.by, a.uid, md.Spec.Strategy.DeepCopy()
		s.world.Admission = fresh
	case in == nil:
		s.world.Blocked = a.message
	default:
		a.message = fmt.Sprintf("the rollout continues as %s approved it; later changes do not count: %s", in.ApprovedBy, a.message)
		s.world.Admission = in
		asApproved(&s.world, in)
	}
	return nil
}

// underWay returns the admission of a rollout that has begun, or nil. A rollout that
// began before controllers recorded admissions gets the present one.
func underWay(md *v1alpha1.ModelDeployment, revision *v1alpha1.ModelRevision, now *v1alpha1.Admission) *v1alpha1.Admission {
	ro := &md.Status.Rollout
	switch {
	case md.Status.Update != revision.Spec.Hash:
		return nil
	case ro.Admitted != nil:
		return ro.Admitted
	case md.Status.Digest == "" && ro.Aborted == "" && ro.State != "" && ro.State != strategy.StateBlocked:
		return now
	}
	return nil
}

// asApproved replaces the requested strategy with the approved one.
func asApproved(w *strategy.World, in *v1alpha1.Admission) {
	w.Spec.Promote, w.Spec.RollbackOf, w.Spec.ReplaceBroken = "", "", ""
	w.Stable = max(1, w.Stable) // gates need pods to judge
	if a := in.Strategy; a != nil {
		w.Spec.Strategy.Type, w.Spec.Strategy.Steps, w.Spec.Strategy.Gates = a.Type, a.Steps, a.Gates
	}
}

// The reasons of the condition Approved.
const (
	reasonApproved  = "Approved"
	reasonRequester = "ByRequester"
	reasonExpired   = "Expired"
	reasonUsed      = "Used"
	reasonChanged   = "ChangedAfterApproval"
	reasonUnbound   = "NotOfARevision"
	reasonWaiting   = "Waiting"
)

// approval is the result of a search for an approval.
type approval struct{ by, reason, message, uid string }

// nearer orders reasons by how close an approval with them is to admitting the
// revision. The closest one is reported.
func nearer(reason, other string) bool {
	order := []string{reasonWaiting, reasonUnbound, reasonChanged, reasonExpired, reasonUsed, reasonRequester, reasonApproved}
	return slices.Index(order, reason) > slices.Index(order, other)
}

// approved looks for an approval of a digest. If there is none, the result says what
// is missing.
func (r *Reconciler) approved(ctx context.Context, md *v1alpha1.ModelDeployment, revision *v1alpha1.ModelRevision, env *v1alpha1.Environment, digest string) (approval, error) {
	m := revision.Spec.Template.Model
	if m.Digest == "" {
		return approval{reason: reasonWaiting, message: fmt.Sprintf("%s accepts only approved models, by digest: set model.digest", env.Name)}, nil
	}
	var list v1alpha1.ModelApprovalList
	if err := r.List(ctx, &list, client.InNamespace(md.Namespace)); err != nil {
		return approval{}, fmt.Errorf("listing approvals: %w", err)
	}
	// The newest of equally good approvals is reported.
	slices.SortStableFunc(list.Items, func(a, b v1alpha1.ModelApproval) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
	id := revision.Spec.DeploymentID
	best := approval{reason: reasonWaiting, message: fmt.Sprintf("waits for an approval of %s@%s by somebody other than %s: `deploy approve %s`", m.ID, m.Version, nobody(revision.Spec.RequestedBy), id)}
	for i := range list.Items {
		a := &list.Items[i]
		if a.Spec.Model.ID != m.ID || a.Spec.Environment != env.Name {
			continue
		}
		if one := r.judge(a, md, revision, env, digest); nearer(one.reason, best.reason) {
			best = one
		}
	}
	return best, nil
}

// judge returns whether one approval admits the revision, and why not.
func (r *Reconciler) judge(a *v1alpha1.ModelApproval, md *v1alpha1.ModelDeployment, revision *v1alpha1.ModelRevision, env *v1alpha1.Environment, digest string) approval {
	s, id := &a.Spec, revision.Spec.DeploymentID
	ends := a.CreationTimestamp.Add(env.Spec.Lifetime())
	if s.ExpiresAt != nil && s.ExpiresAt.Time.Before(ends) {
		ends = s.ExpiresAt.Time
	}
	same := s.Model == revision.Spec.Template.Model
	switch {
	case s.Digest == "" && same:
		return approval{by: s.ApprovedBy, reason: reasonUnbound, message: fmt.Sprintf("%s approved the model but not the whole deployment: `deploy approve %s`", s.ApprovedBy, id)}
	case s.Digest == "", s.Digest != digest && s.Model.Version != revision.Spec.Template.Model.Version && s.Revision != id:
		return approval{reason: reasonWaiting} // an approval of another version
	case s.Digest != digest || !same:
		return approval{by: s.ApprovedBy, reason: reasonChanged, message: fmt.Sprintf("%s approved %s of %s; the request is now %s: `deploy approve %s` shows it", s.ApprovedBy, s.Digest, cmp.Or(s.Revision, id), digest, id)}
	case !r.Now().Before(ends):
		return approval{by: s.ApprovedBy, reason: reasonExpired, message: fmt.Sprintf("the approval by %s expired at %s: `deploy approve %s`", s.ApprovedBy, ends.UTC().Format("2006-01-02 15:04:05Z"), id)}
	case slices.Contains(md.Status.UsedApprovals, string(a.UID)):
		return approval{by: s.ApprovedBy, reason: reasonUsed, message: fmt.Sprintf("the approval by %s has let a rollout begin, and lets no other: `deploy approve %s`", s.ApprovedBy, id)}
	case revision.Spec.RequestedBy == "" || md.Spec.RequestedBy == "" || s.ApprovedBy == revision.Spec.RequestedBy || s.ApprovedBy == md.Spec.RequestedBy:
		return approval{by: s.ApprovedBy, reason: reasonRequester, message: fmt.Sprintf("%s requested it and cannot approve it; somebody else must", nobody(s.ApprovedBy))}
	}
	return approval{s.ApprovedBy, reasonApproved, approvedText(s.ApprovedBy, digest), string(a.UID)}
}

func nobody(name string) string {
	if name == "" {
		return "the requester"
	}
	return name
}

// approvedNow records the approval's state in the conditions, and reports a change
// of it.
func (r *Reconciler) approvedNow(md *v1alpha1.ModelDeployment, revision *v1alpha1.ModelRevision, a *approval, status *v1alpha1.ModelDeploymentStatus) {
	if in := status.Rollout.Admitted; a == nil && in != nil && in.ApprovedBy != "" {
		a = &approval{by: in.ApprovedBy, reason: reasonApproved, message: approvedText(in.ApprovedBy, in.Digest)}
	}
	if a == nil {
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionApproved)
		return
	}
	value := metav1.ConditionFalse
	if a.reason == reasonApproved {
		value = metav1.ConditionTrue
	}
	before := meta.FindStatusCondition(md.Status.Conditions, v1alpha1.ConditionApproved)
	setCondition(status, md.Generation, v1alpha1.ConditionApproved, value, a.reason, a.message)
	if before == nil || before.Reason != a.reason || before.Message != a.message {
		r.Events.Event(md, corev1.EventTypeNormal, v1alpha1.ConditionApproved, revision.Spec.DeploymentID+": "+a.message)
		r.Audit.Info("approval", "namespace", md.Namespace, "deployment", revision.Spec.DeploymentID, "result", a.reason,
			"approved_by", a.by, "digest", status.Digest, "detail", a.message, "requested_by", md.Spec.RequestedBy)
	}
}

func approvedText(by, digest string) string { return fmt.Sprintf("%s approved %s", by, digest) }

// used records the approval that has let the rollout begin.
func used(s *v1alpha1.ModelDeploymentStatus) {
	const most = 100
	in := s.Rollout.Admitted
	if in == nil || in.Approval == "" || slices.Contains(s.UsedApprovals, in.Approval) {
		return
	}
	s.UsedApprovals = append(s.UsedApprovals, in.Approval)
	if n := len(s.UsedApprovals); n > most {
		s.UsedApprovals = s.UsedApprovals[n-most:]
	}
}
