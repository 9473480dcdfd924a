package controller

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// Options say how the controller runs.
type Options struct {
	Config         *rest.Config
	LeaderElection bool
	Namespace      string // of the leader's lease
	Metrics        string // address; "0": none
	Health         string // address; "0": none
	Workers        int    // ModelDeployments at once
	Figures        Figures
	Prometheus     Requests // nil: hosts are asked
	Now            func() time.Time
	Log            *slog.Logger
	Library        *slog.Logger // of controller-runtime and client-go
	Audit          *slog.Logger
}

// Scheme knows all that the deployer reads and writes.
func Scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, gatewayv1.Install, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			return nil, fmt.Errorf("making the scheme: %w", err)
		}
	}
	return s, nil
}

// Run follows the cluster until ctx ends.
func Run(ctx context.Context, o Options) error {
	scheme, err := Scheme()
	if err != nil {
		return err
	}
	log := logr.FromSlogHandler(o.Library.Handler())
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	grace := 10 * time.Second
	// Only what carries the deployer's label is kept in memory, and of pods no more than
	// is looked at.
	mine, err := labels.NewRequirement(render.LabelDeployment, selection.Exists, nil)
	if err != nil {
		return fmt.Errorf("selecting by label: %w", err)
	}
	labelled := cache.ByObject{Label: labels.NewSelector().Add(*mine)}
	// Verdicts of several gates are no repetitions of one event.
	events := record.NewBroadcasterWithCorrelatorOptions(record.CorrelatorOptions{MaxEvents: 200, BurstSize: 100})
	defer events.Shutdown()
	mgr, err := ctrl.NewManager(o.Config, ctrl.Options{
		Scheme: scheme, Logger: log,
		EventBroadcaster: events, //nolint:staticcheck // it outlives the manager, and is shut down here
		LeaderElection:   o.LeaderElection, LeaderElectionID: "controller." + v1alpha1.Group, LeaderElectionNamespace: o.Namespace, LeaderElectionReleaseOnCancel: true,
		Metrics: server.Options{BindAddress: o.Metrics}, HealthProbeBindAddress: o.Health, GracefulShutdownTimeout: &grace,
		Cache: cache.Options{
			DefaultTransform: cache.TransformStripManagedFields(),
			ByObject: map[client.Object]cache.ByObject{
				&corev1.Pod{}: labelled, &corev1.Service{}: labelled, &appsv1.Deployment{}: labelled, &discoveryv1.EndpointSlice{}: labelled,
				&autoscalingv2.HorizontalPodAutoscaler{}: labelled, &policyv1.PodDisruptionBudget{}: labelled, &networkingv1.NetworkPolicy{}: labelled,
			},
		},
	})
	if err != nil {
		return fmt.Errorf("connecting to the cluster: %w", err)
	}
	for _, add := range []func(string, healthz.Checker) error{mgr.AddHealthzCheck, mgr.AddReadyzCheck} {
		if err := add("ping", healthz.Ping); err != nil {
			return fmt.Errorf("adding a health check: %w", err)
		}
	}
	r := &Reconciler{
		Client: mgr.GetClient(), Events: mgr.GetEventRecorderFor("pynomaly-controller"), Figures: o.Figures, Comparisons: NewComparisons(), Live: mgr.GetAPIReader(), Prometheus: o.Prometheus,
		Namespace: cmp.Or(o.Namespace, "pynomaly-system"), Now: o.Now, Log: o.Log, Audit: o.Audit,
	}
	if err := r.setUp(mgr, o.Workers); err != nil {
		return fmt.Errorf("setting the controller up: %w", err)
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running the controller: %w", err)
	}
	return nil
}

// HostClient is the client that hosts are asked with: no connection outlives a pod for
// long, and no pod sends it elsewhere.
func HostClient() *http.Client {
	return &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: askTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 1, IdleConnTimeout: 10 * time.Second}}
}

func (r *Reconciler) setUp(mgr ctrl.Manager, workers int) error {
	mine := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		if name := o.GetLabels()[render.LabelDeployment]; name != "" {
			return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}}
		}
		return nil
	})
	everybody := handler.EnqueueRequestsFromMapFunc(r.everybody)
	b := ctrl.NewControllerManagedBy(mgr).For(&v1alpha1.ModelDeployment{}).Named("modeldeployment").
		WithOptions(controller.Options{MaxConcurrentReconciles: max(1, workers)}).
		Watches(&v1alpha1.ModelApproval{}, everybody).Watches(&v1alpha1.Environment{}, everybody)
	for _, o := range []client.Object{
		&appsv1.Deployment{}, &corev1.Service{}, &corev1.Pod{}, &discoveryv1.EndpointSlice{},
		&autoscalingv2.HorizontalPodAutoscaler{}, &policyv1.PodDisruptionBudget{}, &networkingv1.NetworkPolicy{},
	} {
		b = b.Watches(o, mine)
	}
	// A revision's status is written here and nowhere else.
	b = b.Watches(&v1alpha1.ModelRevision{}, mine, builder.WithPredicates(deletions()))
	ok, err := hasGateway(mgr.GetRESTMapper())
	if err != nil {
		return err
	}
	if ok {
		b = b.Watches(&gatewayv1.HTTPRoute{}, mine)
	} else {
		r.Log.Warn("this cluster has no Gateway API: traffic is split by the ratio of replicas")
	}
	return b.Complete(r)
}

// deletions lets through that something was made or is gone.
func deletions() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(event.UpdateEvent) bool { return false }}
}

// everybody is what an approval or an environment may concern.
func (r *Reconciler) everybody(ctx context.Context, o client.Object) []reconcile.Request {
	var list v1alpha1.ModelDeploymentList
	var in []client.ListOption
	if o.GetNamespace() != "" {
		in = append(in, client.InNamespace(o.GetNamespace()))
	}
	if err := r.List(ctx, &list, in...); err != nil {
		r.Log.Error("a change may be noticed late", "object", o.GetName(), "error", err)
		return nil
	}
	out := make([]reconcile.Request, 0, len(list.Items))
	for i := range list.Items {
		out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return out
}

func hasGateway(m meta.RESTMapper) (bool, error) {
	_, err := m.RESTMapping(schema.GroupKind{Group: gatewayv1.GroupName, Kind: "HTTPRoute"}, gatewayv1.GroupVersion.Version)
	switch {
	case err == nil:
		return true, nil
	case meta.IsNoMatchError(err), apierrors.IsNotFound(err):
		return false, nil
	}
	return false, fmt.Errorf("asking for the Gateway API: %w", err)
}
