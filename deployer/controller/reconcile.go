// Package controller makes the cluster match what ModelDeployments request. It
// gathers what deployer/strategy needs, and carries out what strategy plans.
//
// It decides nothing itself. Every write sends the version of the object that was
// read, so that the API server refuses it if somebody has changed the object. The
// controller then reads again.
package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/gatewaymetrics"
	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// Reconciler follows ModelDeployments.
type Reconciler struct {
	client.Client
	Events      record.EventRecorder
	Figures     Figures
	Comparisons *Comparisons
	Gateway     gatewaymetrics.Reader
	Keys        Keys          // of the controller
	Live        client.Reader // not cached
	Prometheus  Requests      // nil: hosts are asked
	Namespace   string        // the controller's
	Namespaces  []string      // in which it has its role
	Now         func() time.Time
	NoRoutes    bool // the cluster has no Gateway API
	Log         *slog.Logger
	Audit       *slog.Logger // one line for each change of a rollout's state and for each verdict

	kept keeper
}

// Reconcile advances one ModelDeployment by a step.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	md := &v1alpha1.ModelDeployment{}
	if err := r.Get(ctx, req.NamespacedName, md); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err) // Kubernetes deletes its objects, which it owns
	}
	if !md.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	after, err := r.reconcile(ctx, md)
	if apierrors.IsConflict(err) || errors.Is(err, errBehind) { // somebody has changed an object, or the cache is behind
		r.Log.Debug("reconciling again", "deployment", req.String(), "error", err)
		return ctrl.Result{RequeueAfter: 50 * time.Millisecond}, nil
	}
	if apierrors.IsAlreadyExists(err) { // the cache is behind, or the object belongs to somebody else
		r.Log.Warn("an object that is to be made exists", "deployment", req.String(), "error", err)
		return ctrl.Result{RequeueAfter: time.Second}, nil
	}
	if err != nil && ctx.Err() == nil {
		r.stuck(ctx, req.NamespacedName, err)
	}
	return ctrl.Result{RequeueAfter: after}, err
}

// stuck records why the controller cannot go on. It tries again all the same.
func (r *Reconciler) stuck(ctx context.Context, key client.ObjectKey, why error) {
	md := &v1alpha1.ModelDeployment{}
	if err := r.Get(ctx, key, md); err != nil {
		return // the API server does not answer, and the next attempt says so
	}
	status := md.Status.DeepCopy()
	message := fmt.Sprintf("the controller tries again: %.500s", why.Error())
	const telling = 100 // errors that begin the same are the same, or each attempt would cause the next one
	if c := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionStalled); c != nil && c.Reason == ReasonError && c.ObservedGeneration == md.Generation && fmt.Sprintf("%.*s", telling, c.Message) == fmt.Sprintf("%.*s", telling, message) {
		return
	}
	status.ObservedGeneration, status.Message = md.Generation, message
	setCondition(status, md.Generation, v1alpha1.ConditionStalled, metav1.ConditionTrue, ReasonError, message)
	if err := r.writeStatus(ctx, md, status); err != nil {
		r.Log.Debug("the status does not say why the controller is stuck", "deployment", key.String(), "error", err)
	}
}

// ReasonError is the reason in the condition Stalled if the controller gets an error.
const ReasonError = "ControllerError"

func (r *Reconciler) reconcile(ctx context.Context, md *v1alpha1.ModelDeployment) (time.Duration, error) {
	no := (*refusal)(nil)
	if err := r.refused(ctx, md); errors.As(err, &no) {
		return 0, r.refuse(ctx, md, no)
	} else if err != nil {
		return 0, err
	}
	if !slices.Contains(r.Namespaces, md.Namespace) {
		return lookAgain, r.hold(ctx, md, ReasonNoRole, fmt.Sprintf("the controller has no role in namespace %s: name it in an Environment and run `deploy install`, which grants the role", md.Namespace))
	}
	revision, all, err := r.revision(ctx, md)
	if errors.As(err, &no) {
		return 0, r.refuse(ctx, md, no)
	} else if err != nil {
		return 0, err
	}
	seen, err := r.look(ctx, md, revision)
	if err != nil {
		return 0, err
	}
	r.explain(ctx, seen, revision.Spec.Hash)
	plan := strategy.Next(seen.world)
	r.Comparisons.settle(md.UID, plan.Status.Update == plan.Status.Stable, seen.world.Weights[revision.Spec.Hash])
	if plan.Gates {
		// The counters are fetched only if the plan needs them. Then the plan is
		// made again with them.
		asked := md.DeepCopy()
		asked.Spec = seen.world.Spec
		r.figures(ctx, asked, seen, all)
		plan = strategy.Next(seen.world)
		if plan.Status.Phase != v1alpha1.Paused {
			seen.lookAgain(figuresEvery)
		}
	}
	// The decision is written first, because the objects follow from it, whichever
	// controller makes them.
	if err := r.record(ctx, md, revision, all, seen, &plan); err != nil {
		return 0, err
	}
	if err := r.outcomes(ctx, md, seen, all, plan.Outcomes); err != nil {
		return 0, err
	}
	if len(plan.Replicas) > 0 || len(seen.deployments) > 0 { // a rollout that may not begin has no objects
		if err := errors.Join(r.apply(ctx, md, seen, all, &plan), r.drifted(ctx, md, seen)); err != nil {
			return 0, err
		}
	}
	if plan.After == 0 || seen.again > 0 && seen.again < plan.After {
		plan.After = seen.again
	}
	return plan.After, r.prune(ctx, md, all, &plan)
}

// refuse records why nothing is done.
func (r *Reconciler) refuse(ctx context.Context, md *v1alpha1.ModelDeployment, why *refusal) error {
	status, reason, message := md.Status.DeepCopy(), why.reason, why.message
	status.ObservedGeneration, status.Phase, status.Message = md.Generation, v1alpha1.Failed, message
	stalled(status, md.Generation, reason, message)
	return r.writeStatus(ctx, md, status)
}

// hold records what must happen before the rollout can continue. What serves
// continues to serve.
func (r *Reconciler) hold(ctx context.Context, md *v1alpha1.ModelDeployment, reason, message string) error {
	status := md.Status.DeepCopy()
	status.ObservedGeneration, status.Message = md.Generation, message
	if status.Stable == "" {
		status.Phase = v1alpha1.Pending
	}
	stalled(status, md.Generation, reason, message)
	return r.writeStatus(ctx, md, status)
}

// stalled records that nothing continues until somebody acts.
func stalled(s *v1alpha1.ModelDeploymentStatus, generation int64, reason, message string) {
	setCondition(s, generation, v1alpha1.ConditionReady, metav1.ConditionFalse, reason, message)
	setCondition(s, generation, v1alpha1.ConditionStalled, metav1.ConditionTrue, reason, message)
	setCondition(s, generation, v1alpha1.ConditionReconciling, metav1.ConditionFalse, reason, message)
}

func (r *Reconciler) writeStatus(ctx context.Context, md *v1alpha1.ModelDeployment, status *v1alpha1.ModelDeploymentStatus) error {
	if equality.Semantic.DeepEqual(&md.Status, status) {
		return nil
	}
	md.Status = *status
	if err := r.Status().Update(ctx, md); err != nil {
		return fmt.Errorf("writing the status: %w", err)
	}
	return nil
}

func setCondition(s *v1alpha1.ModelDeploymentStatus, generation int64, kind string, value metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&s.Conditions, metav1.Condition{
		Type: kind, Status: value, ObservedGeneration: generation, Reason: reason, Message: message,
	})
}

// record writes the decision to the status, and reports it.
func (r *Reconciler) record(ctx context.Context, md *v1alpha1.ModelDeployment, revision *v1alpha1.ModelRevision, all []v1alpha1.ModelRevision, seen *sight, plan *strategy.Plan) error {
	before := md.Status.DeepCopy()
	s := &plan.Status
	s.ObservedGeneration, s.Number, s.Digest = md.Generation, max(s.Number, revision.Spec.Number), seen.digest
	if len(seen.verdicts) > 0 {
		s.Verdicts = seen.verdicts
	}
	used(s)
	keepGateway(before, s, seen.gateway)
	s.Rollout.Warning = r.pinned(ctx, seen, s, all)
	keepHistory(before, s, seen, r.Now())
	seen.replaced, seen.past = superseded(before, s, r.Now())
	if s.Stable != before.Stable {
		s.Promotion = promotion(md, before, s.Verdicts)
	}
	stable := seen.world.Revisions[s.Stable]
	conditions(md, s, stable.Endpoints >= seen.world.Stable)
	r.approvedNow(md, revision, seen.approval, s)
	if why := seen.taken(); why != "" {
		if s.Message != why {
			s.Message += "; " + why
		}
		stalled(s, md.Generation, ReasonNameTaken, why)
		if plan.After == 0 || plan.After > lookAgain {
			plan.After = lookAgain
		}
	}
	if err := r.writeStatus(ctx, md, s); err != nil {
		return err
	}
	if before.Phase != s.Phase || before.Rollout.State != s.Rollout.State || before.Rollout.Step != s.Rollout.Step || before.Update != s.Update || before.Stable != s.Stable {
		kind := corev1.EventTypeNormal
		if s.Phase == v1alpha1.Failed || s.Phase == v1alpha1.RollingBack {
			kind = corev1.EventTypeWarning
		}
		r.Events.Event(md, kind, s.Rollout.State, revision.Spec.DeploymentID+": "+s.Message)
		r.Audit.Info("rollout", "namespace", md.Namespace, "deployment", revision.Spec.DeploymentID, "phase", s.Phase, "state", s.Rollout.State,
			"step", s.Rollout.Step, "weight", s.Rollout.Weight, "detail", s.Message, "promotion", s.Promotion, "requested_by", md.Spec.RequestedBy)
	}
	for _, v := range seen.told {
		r.Events.Event(md, eventOf(v.Result), "Gate", fmt.Sprintf("%s: %s: %s (n %d, %s against %s) %s", revision.Spec.DeploymentID, v.Gate, v.Result, v.N, v.Statistic, v.Limit, v.Message))
		r.Audit.Info("gate", "namespace", md.Namespace, "deployment", revision.Spec.DeploymentID, "gate", v.Gate, "result", v.Result,
			"n", v.N, "statistic", v.Statistic, "limit", v.Limit, "detail", v.Message)
	}
	return nil
}

func eventOf(result string) string {
	if result == "Fail" || result == "Error" {
		return corev1.EventTypeWarning
	}
	return corev1.EventTypeNormal
}

// conditions follow the kstatus conventions: Reconciling while something is under
// way, Stalled if only a change of the spec helps, Ready if everything is as
// requested.
func conditions(md *v1alpha1.ModelDeployment, s *v1alpha1.ModelDeploymentStatus, healthy bool) {
	ready, reconciling, stalled := metav1.ConditionFalse, metav1.ConditionFalse, metav1.ConditionFalse
	switch s.Phase {
	case v1alpha1.Deployed:
		if healthy {
			ready = metav1.ConditionTrue
		} else {
			reconciling = metav1.ConditionTrue
		}
	case v1alpha1.Failed, v1alpha1.RolledBack:
		stalled = metav1.ConditionTrue
	default:
		reconciling = metav1.ConditionTrue
	}
	for kind, value := range map[string]metav1.ConditionStatus{
		v1alpha1.ConditionReady: ready, v1alpha1.ConditionReconciling: reconciling, v1alpha1.ConditionStalled: stalled,
	} {
		message := s.Message
		if kind == v1alpha1.ConditionReady && s.Phase == v1alpha1.Deployed && s.Promotion != "" {
			message += "; promoted: " + s.Promotion
		}
		setCondition(s, md.Generation, kind, value, s.Rollout.State, message)
	}
}

// outcomes writes to the revisions how their rollouts ended.
func (r *Reconciler) outcomes(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, all []v1alpha1.ModelRevision, outcomes map[string]string) error {
	var errs error
	for i := range all {
		rev := &all[i]
		phase, ok := outcomes[rev.Spec.Hash]
		if !ok {
			phase, ok = missed(md, rev)
		}
		if !ok || (rev.Status.Phase == phase && (rev.Spec.Hash != md.Status.Update || rev.Status.Message == md.Status.Message)) {
			continue
		}
		changed := rev.Status.Phase != phase
		rev.Status.Phase = phase
		if h := md.Status.Rollout.History; rev.Spec.Hash == md.Status.Update && len(h) > 0 && h[len(h)-1].State == strategy.StateIdle {
			rev.Status.History = h
		} else if rev.Spec.Hash == seen.replaced {
			rev.Status.History = seen.past
		}
		if rev.Spec.Hash == md.Status.Update || changed {
			rev.Status.Message = md.Status.Message
		}
		now := metav1.NewTime(r.Now())
		switch phase {
		case v1alpha1.Deployed:
			if changed {
				rev.Status.DeployedAt, rev.Status.FinishedAt = &now, nil
			}
			if rev.Status.Digest == "" {
				rev.Status.Digest = r.digest(ctx, rev, seen.pods[rev.Spec.Hash])
			}
		case v1alpha1.RolledBack, v1alpha1.Failed, v1alpha1.Superseded:
			if changed {
				rev.Status.FinishedAt = &now
			}
		}
		if err := r.Status().Update(ctx, rev); err != nil {
			errs = errors.Join(errs, fmt.Errorf("writing the status of revision %s: %w", rev.Name, err))
		}
	}
	return errs
}
