package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// sight is the observed state of one ModelDeployment's objects.
type sight struct {
	aftermath
	world       strategy.World
	deployments map[string]*appsv1.Deployment // by revision
	services    map[string]*corev1.Service    // by name
	route       *gatewayv1.HTTPRoute
	autoscaler  *autoscalingv2.HorizontalPodAutoscaler
	budget      *policyv1.PodDisruptionBudget
	network     *networkingv1.NetworkPolicy
	pods        map[string][]corev1.Pod // by revision, without terminating pods
	others      map[string]string       // why objects that have md's label or name, but another owner, are in the way
	needs       []string                // names of the objects that md must have
	verdicts    []v1alpha1.Verdict
	told        []v1alpha1.Verdict       // verdicts that have changed
	digest      string                   // of everything that is requested
	approval    *approval                // nil: none is required
	env         *v1alpha1.Environment    // nil: there is none
	access      v1alpha1.Access          // of its hosts
	gateway     *v1alpha1.GatewayFigures // nil: it was not asked
	figures     *v1alpha1.StepFigures    // nil: nobody was asked
	replaced    string                   // the revision whose rollout this one has replaced
	past        []v1alpha1.Moment        // the history of that rollout
	noKey       string                   // why the controller has no key for the namespace's hosts; empty: it has one
}

// look gathers the observations that strategy needs.
func (r *Reconciler) look(ctx context.Context, md *v1alpha1.ModelDeployment, revision *v1alpha1.ModelRevision) (*sight, error) {
	s := &sight{
		deployments: map[string]*appsv1.Deployment{}, services: map[string]*corev1.Service{}, pods: map[string][]corev1.Pod{}, others: map[string]string{},
		world: strategy.World{Now: r.Now(), Spec: md.Spec, Status: md.Status, Update: revision.Spec.Hash, Revisions: map[string]strategy.Revision{}},
	}
	if err := r.lookAtAccess(ctx, md, s); err != nil {
		return nil, err
	}
	of, err := r.lookAtObjects(ctx, md, s)
	if err != nil {
		return nil, err
	}
	if err := r.lookAtTraffic(ctx, md, s); err != nil {
		return nil, err
	}
	s.world.Stable = md.Spec.Replicas
	if a := md.Spec.Autoscaling; a != nil {
		s.world.Stable = max(a.MinReplicas, min(a.MaxReplicas, of(md.Status.Stable).Desired))
	}
	if err := r.claim(ctx, md, s, revision.Spec.Hash); err != nil {
		return nil, err
	}
	if err := r.letIn(ctx, md, revision, s); err != nil {
		return nil, err
	}
	if s.world.Blocked == "" && s.deployments[revision.Spec.Hash] == nil {
		s.world.Blocked = s.noKey
	}
	if s.world.Blocked == "" && s.deployments[revision.Spec.Hash] == nil {
		s.world.Blocked = s.taken()
	}
	return s, nil
}

// lookAtObjects reads the deployment's own objects. It returns a function that gives
// what they show of a revision, by hash.
func (r *Reconciler) lookAtObjects(ctx context.Context, md *v1alpha1.ModelDeployment, s *sight) (func(hash string) *strategy.Revision, error) {
	own := []client.ListOption{client.InNamespace(md.Namespace), client.MatchingLabels{render.LabelDeployment: md.Name}}
	var deployments appsv1.DeploymentList
	var pods corev1.PodList
	var slicesOf discoveryv1.EndpointSliceList
	var services corev1.ServiceList
	for what, list := range map[string]client.ObjectList{"Deployments": &deployments, "Pods": &pods, "EndpointSlices": &slicesOf, "Services": &services} {
		if err := r.List(ctx, list, own...); err != nil {
			return nil, fmt.Errorf("listing %s: %w", what, err)
		}
	}
	revisions := map[string]*strategy.Revision{}
	of := func(hash string) *strategy.Revision {
		if revisions[hash] == nil {
			revisions[hash] = &strategy.Revision{}
		}
		return revisions[hash]
	}
	for i := range deployments.Items {
		d := &deployments.Items[i]
		if !s.owned(md, d) {
			continue
		}
		hash := d.Labels[render.LabelRevision]
		if d.Name != render.RevisionName(md, hash) || !d.DeletionTimestamp.IsZero() {
			continue
		}
		s.deployments[hash] = d
		if d.Spec.Replicas != nil {
			of(hash).Desired = *d.Spec.Replicas
		}
		of(hash).Problem = withoutPods(d)
	}
	for i := range services.Items {
		if s.owned(md, &services.Items[i]) {
			s.services[services.Items[i].Name] = &services.Items[i]
		}
	}
	ready := r.countPods(s, pods.Items, of)
	s.endpoints(md, slicesOf.Items, ready, of)
	for hash, rev := range revisions {
		s.world.Revisions[hash] = *rev
	}
	return of, nil
}

// countPods counts the pods of each revision. It returns the names of those that
// have been ready for settle.
func (r *Reconciler) countPods(s *sight, pods []corev1.Pod, of func(string) *strategy.Revision) map[string]bool {
	ready := map[string]bool{}
	for i := range pods {
		p := &pods[i]
		hash := p.Labels[render.LabelRevision]
		rev := of(hash)
		rev.Pods++
		if !p.DeletionTimestamp.IsZero() {
			continue
		}
		s.pods[hash] = append(s.pods[hash], *p)
		if n := crashesOf(p); n > 0 {
			if rev.Crashes == nil {
				rev.Crashes = map[string]int32{}
			}
			rev.Crashes[string(p.UID)] = n
			if oomKilled(p) {
				if rev.OOMKilled == nil {
					rev.OOMKilled = map[string]bool{}
				}
				rev.OOMKilled[string(p.UID)] = true
			}
			rev.Problem = cmp.Or(rev.Problem, problemOf(p)) // it says why, even if the pod is ready again
		}
		if isReady(p) {
			rev.Ready++
			ready[p.Name] = r.Now().Sub(readySince(p)) >= settle
		} else if problem := problemOf(p); problem != "" {
			rev.Problem = problem
		}
	}
	return ready
}

// endpoints counts the pods that the revisions' Services list as ready.
func (s *sight) endpoints(md *v1alpha1.ModelDeployment, all []discoveryv1.EndpointSlice, ready map[string]bool, of func(string) *strategy.Revision) {
	counted := map[string]bool{}
	for i := range all {
		e := &all[i]
		hash := e.Labels[render.LabelRevision]
		if hash == "" || e.Labels[discoveryv1.LabelServiceName] != render.RevisionName(md, hash) {
			continue
		}
		for _, p := range e.Endpoints {
			if p.TargetRef == nil || counted[p.TargetRef.Name] || !ready[p.TargetRef.Name] {
				continue
			}
			if p.Conditions.Ready == nil || *p.Conditions.Ready {
				counted[p.TargetRef.Name] = true
				of(hash).Endpoints++
			}
		}
	}
}

// settle is how long a pod must be ready before it counts as an endpoint. Proxies
// learn of endpoints later than the API server: kube-proxy waits for up to a second,
// and gateways for as long as they are configured to. Conditions record whole
// seconds, so the true time may be a second less.
const settle = 3 * time.Second

func readySince(p *corev1.Pod) time.Time {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.LastTransitionTime.Time
		}
	}
	return time.Time{}
}

func isReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// A container that is not ready after slow is asked why, in at most mostAsked pods.
const (
	slow      = 3 * time.Second
	mostAsked = 2
)

// explain asks running pods that do not get ready for the reason. It asks only some
// of them, because the pods of a lost node do not answer.
func (r *Reconciler) explain(ctx context.Context, s *sight, hash string) {
	rev, ok := s.world.Revisions[hash]
	if !ok || rev.Problem != "" || rev.Ready == rev.Pods {
		return
	}
	asked := 0
	for i := range s.pods[hash] {
		p := &s.pods[hash][i]
		if asked == mostAsked || isReady(p) || p.Status.PodIP == "" || len(p.Status.ContainerStatuses) == 0 {
			continue
		}
		if c := p.Status.ContainerStatuses[0].State.Running; c == nil || r.Now().Sub(c.StartedAt.Time) < slow {
			continue
		}
		asked++
		ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		reason, err := r.Figures.Waits(ctx, hostOf(p))
		cancel()
		if err != nil {
			r.Log.Debug("a host does not answer why it is not ready", "pod", p.Name, "error", err)
			continue
		}
		rev.Problem = fmt.Sprintf("%.300s", reason)
		s.world.Revisions[hash] = rev
		return
	}
}

// problemOf returns why a pod is not running, or "".
func problemOf(p *corev1.Pod) string {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return c.Reason + ": " + c.Message
		}
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if t := c.State.Terminated; t != nil && t.ExitCode == 0 {
			continue // it has finished
		}
		if t := c.LastTerminationState.Terminated; t != nil && t.Reason == "OOMKilled" { // its last words do not say so
			return "OOMKilled: the container needs more memory than its limit" + limitOf(p, c.Name)
		}
		if t := c.LastTerminationState.Terminated; t != nil && t.ExitCode != 0 && t.Message != "" {
			return fmt.Sprintf("%s: %.300s", c.Name, lastWords(t.Message))
		}
		if w := c.State.Waiting; w != nil && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
			return w.Reason + ": " + w.Message
		}
	}
	return ""
}

// lookAtTraffic reads the objects that divide the traffic.
func (r *Reconciler) lookAtTraffic(ctx context.Context, md *v1alpha1.ModelDeployment, s *sight) error {
	key := client.ObjectKeyFromObject(md)
	var a autoscalingv2.HorizontalPodAutoscaler
	var b policyv1.PodDisruptionBudget
	var n networkingv1.NetworkPolicy
	for what, get := range map[string]func() error{
		"the HorizontalPodAutoscaler": func() error {
			err := r.Get(ctx, key, &a)
			if err == nil && s.owned(md, &a) {
				s.autoscaler = &a
			}
			return err
		},
		"the NetworkPolicy": func() error {
			err := r.Get(ctx, key, &n)
			if err == nil && s.owned(md, &n) {
				s.network = &n
			}
			return err
		},
		"the PodDisruptionBudget": func() error {
			err := r.Get(ctx, key, &b)
			if err == nil && s.owned(md, &b) {
				s.budget = &b
			}
			return err
		},
	} {
		if err := get(); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("reading %s: %w", what, err)
		}
	}
	main := s.services[md.Name]
	selected := map[string]int32(nil)
	if main != nil {
		selected = render.ParseWeights(main.Annotations[render.AnnotationWeights])
	}
	var route gatewayv1.HTTPRoute
	asked := md.Spec.Traffic.Gateway != nil
	if asked || !r.NoRoutes { // a route of before may still be there
		err := r.Get(ctx, key, &route)
		switch {
		case err == nil && s.owned(md, &route):
			s.route = &route
		case err == nil, apierrors.IsNotFound(err), meta.IsNoMatchError(err) && !asked:
		case meta.IsNoMatchError(err):
			return fmt.Errorf("traffic.gateway is set and this cluster has no Gateway API: install its CRDs, or leave the gateway out: %w", err)
		default:
			return fmt.Errorf("reading the HTTPRoute: %w", err)
		}
	}
	switch {
	case !asked:
		s.world.Ratio, s.world.Acked, s.world.Weights = true, true, selected
	case s.route != nil:
		s.world.Weights = render.WeightsOf(md, s.route)
		s.world.Acked = acked(s.route, md.Spec.Traffic.Gateway)
	}
	return nil
}

// acked reports whether the gateway has accepted the present route.
func acked(r *gatewayv1.HTTPRoute, g *v1alpha1.GatewayReference) bool {
	for _, p := range r.Status.Parents {
		if string(p.ParentRef.Name) != g.Name {
			continue
		}
		accepted, resolved := meta.FindStatusCondition(p.Conditions, string(gatewayv1.RouteConditionAccepted)), meta.FindStatusCondition(p.Conditions, string(gatewayv1.RouteConditionResolvedRefs))
		if accepted != nil && accepted.Status == "True" && accepted.ObservedGeneration == r.Generation &&
			resolved != nil && resolved.Status == "True" && resolved.ObservedGeneration == r.Generation {
			return true
		}
	}
	return false
}
