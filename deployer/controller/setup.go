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
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/hostkeys"
	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// Options configure the controller.
type Options struct {
	Config         *rest.Config
	LeaderElection bool
	Namespace      string   // of the leader's lease
	Metrics        string   // address; "0": none
	Health         string   // address; "0": none
	Workers        int      // ModelDeployments at the same time
	Prometheus     Requests // nil: hosts are asked
	Now            func() time.Time
	Log            *slog.Logger
	Library        *slog.Logger // of controller-runtime and client-go
	Audit          *slog.Logger

	keys    Keys
	figures Figures
}

// defaultNamespace is the controller's namespace if the options do not say.
const defaultNamespace = "pynomaly-system"

// Scheme returns a scheme with all types that the deployer reads and writes.
func Scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, gatewayv1.Install, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			return nil, fmt.Errorf("making the scheme: %w", err)
		}
	}
	return s, nil
}

// Run follows the cluster until ctx ends. It reads and writes objects that serve
// models only in the namespaces of environments, and restarts its caches when these
// change.
func Run(ctx context.Context, o Options) error {
	scheme, err := Scheme()
	if err != nil {
		return err
	}
	log := logr.FromSlogHandler(o.Library.Handler())
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	c, err := client.New(o.Config, client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("connecting to the cluster: %w", err)
	}
	o.keys = &hostkeys.Own{Reader: c, Namespace: cmp.Or(o.Namespace, defaultNamespace), Now: o.Now}
	o.figures = &Hosts{Client: HostClient(), Keys: o.keys}
	comparisons := NewComparisons()
	for ctx.Err() == nil {
		namespaces, err := reachable(ctx, c, c, nil)
		if err != nil {
			return err
		}
		if err := o.runIn(ctx, c, namespaces, comparisons); err != nil {
			return err
		}
	}
	return nil
}

// runIn follows the cluster until ctx ends or the reachable namespaces change.
func (o Options) runIn(ctx context.Context, c client.Client, namespaces []string, comparisons *Comparisons) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	gateway, err := hasGateway(c.RESTMapper())
	if err != nil {
		return err
	}
	grace, again := 10*time.Second, true
	objects, err := cached(namespaces, gateway)
	if err != nil {
		return err
	}
	// Verdicts of several gates must not be merged into one event.
	events := record.NewBroadcasterWithCorrelatorOptions(record.CorrelatorOptions{MaxEvents: 200, BurstSize: 100})
	defer events.Shutdown()
	mgr, err := ctrl.NewManager(o.Config, ctrl.Options{
		Scheme: c.Scheme(), MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return c.RESTMapper(), nil },
		Logger: logr.FromSlogHandler(o.Library.Handler()), Controller: config.Controller{SkipNameValidation: &again},
		EventBroadcaster: events, //nolint:staticcheck // it outlives the manager, and is shut down here
		LeaderElection:   o.LeaderElection, LeaderElectionID: render.LeaseName, LeaderElectionNamespace: o.Namespace, LeaderElectionReleaseOnCancel: true,
		Metrics: server.Options{BindAddress: o.Metrics}, HealthProbeBindAddress: o.Health, GracefulShutdownTimeout: &grace,
		Cache: cache.Options{DefaultTransform: cache.TransformStripManagedFields(), ByObject: objects},
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
		Client: mgr.GetClient(), Events: mgr.GetEventRecorderFor("pynomaly-controller"), Figures: o.figures, Keys: o.keys, Comparisons: comparisons, Live: mgr.GetAPIReader(), Prometheus: o.Prometheus,
		Namespace: cmp.Or(o.Namespace, defaultNamespace), Namespaces: namespaces, Now: o.Now, NoRoutes: !gateway, Log: o.Log, Audit: o.Audit,
	}
	if err := mgr.Add(follower{environments: mgr.GetClient(), live: c, namespaces: namespaces, end: end, log: o.Log}); err != nil {
		return fmt.Errorf("following environments: %w", err)
	}
	if err := r.setUp(mgr, o.Workers, gateway); err != nil {
		return fmt.Errorf("setting the controller up: %w", err)
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running the controller: %w", err)
	}
	return nil
}

// HostClient returns the client for requests to hosts. Its connections do not
// outlive a pod for long, and it follows no redirects.
func HostClient() *http.Client {
	return &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: askTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 1, IdleConnTimeout: 10 * time.Second}}
}

// cached returns what the cache contains of the objects that serve models: those
// with the deployer's label in the given namespaces.
func cached(namespaces []string, gateway bool) (map[client.Object]cache.ByObject, error) {
	mine, err := labels.NewRequirement(render.LabelDeployment, selection.Exists, nil)
	if err != nil {
		return nil, fmt.Errorf("selecting by label: %w", err)
	}
	labelled := cache.ByObject{Label: labels.NewSelector().Add(*mine), Namespaces: map[string]cache.Config{}}
	for _, name := range namespaces {
		labelled.Namespaces[name] = cache.Config{}
	}
	kept := labelled
	kept.Transform = func(o any) (any, error) { return o, nil } // the managers of fields say who has changed one
	out := map[client.Object]cache.ByObject{}
	for _, o := range watched(gateway) {
		switch o.(type) {
		case *corev1.Pod, *discoveryv1.EndpointSlice:
			out[o] = labelled
		default:
			out[o] = kept
		}
	}
	return out, nil
}

// watched returns the kinds of objects that serve models.
func watched(gateway bool) []client.Object {
	all := []client.Object{
		&appsv1.Deployment{}, &corev1.Service{}, &corev1.Pod{}, &discoveryv1.EndpointSlice{},
		&autoscalingv2.HorizontalPodAutoscaler{}, &policyv1.PodDisruptionBudget{}, &networkingv1.NetworkPolicy{},
	}
	if gateway {
		all = append(all, &gatewayv1.HTTPRoute{})
	}
	return all
}

func (r *Reconciler) setUp(mgr ctrl.Manager, workers int, gateway bool) error {
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
	if len(r.Namespaces) > 0 { // an empty list would mean all namespaces
		for _, o := range watched(gateway) {
			b = b.Watches(o, mine)
		}
	}
	// Only this controller writes a revision's status.
	b = b.Watches(&v1alpha1.ModelRevision{}, mine, builder.WithPredicates(deletions()))
	if !gateway {
		r.Log.Warn("this cluster has no Gateway API: traffic is split by the ratio of replicas")
	}
	return b.Complete(r)
}

// deletions lets creations and deletions through, and drops updates.
func deletions() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(event.UpdateEvent) bool { return false }}
}

// everybody returns the ModelDeployments that an approval or an environment may
// concern.
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
