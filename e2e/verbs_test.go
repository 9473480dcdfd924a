//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/controller"
	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

const system = "pynomaly-system"

// requests records the requests to the API server as "verb resource.group", with the
// place if the role is that of one namespace.
type requests struct {
	mu      sync.Mutex
	asked   map[string]int
	refused []string
}

// status records a response's status code.
type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

func (s *status) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (q *requests) through(proxy http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		what, namespace := verbOf(r)
		if what != "" {
			q.mu.Lock()
			q.asked[keyOf(what, namespace)]++
			q.mu.Unlock()
		}
		s := &status{ResponseWriter: rw}
		proxy.ServeHTTP(s, r)
		if s.code == http.StatusForbidden {
			q.mu.Lock()
			q.refused = append(q.refused, fmt.Sprintf("%s in %q: %s %s", what, namespace, r.Method, r.URL))
			q.mu.Unlock()
		}
	})
}

// keyOf distinguishes what is granted in the controller's own namespace.
func keyOf(what, namespace string) string {
	if namespace == system {
		return what + " of its own"
	}
	return what
}

// verbOf classifies a request as the API server's authorizer does. It returns "" if
// the request is for no resource.
func verbOf(r *http.Request) (what, namespace string) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	group := ""
	switch {
	case len(parts) > 3 && parts[0] == "apis":
		group, parts = parts[1], parts[3:]
	case len(parts) > 2 && parts[0] == "api":
		parts = parts[2:]
	default:
		return "", ""
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		namespace, parts = parts[1], parts[2:]
	}
	resource := parts[0]
	if len(parts) > 2 {
		resource += "/" + parts[2]
	}
	verb := map[string]string{http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete"}[r.Method]
	switch {
	case r.Method == http.MethodGet && len(parts) > 1:
		verb = "get"
	case r.Method == http.MethodGet && r.URL.Query().Get("watch") != "":
		verb = "watch"
	case r.Method == http.MethodGet:
		verb = "list"
	case r.Method == http.MethodDelete && len(parts) == 1:
		verb = "deletecollection"
	}
	return verb + " " + resource + "." + group, namespace
}

// grants returns what the installed roles of the controller grant.
func (w *world) grants(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	add := func(namespace string, rules []rbacv1.PolicyRule) {
		for _, r := range rules {
			for _, resource := range r.Resources {
				for _, verb := range r.Verbs {
					out[keyOf(verb+" "+resource+"."+r.APIGroups[0], namespace)] = true
				}
			}
		}
	}
	for _, name := range []string{render.ControllerName, render.ModelsRole} {
		var role rbacv1.ClusterRole
		w.get(t, client.ObjectKey{Name: name}, &role)
		add("", role.Rules)
	}
	var role rbacv1.Role
	w.get(t, client.ObjectKey{Namespace: system, Name: render.ControllerName}, &role)
	add(system, role.Rules)
	return out
}

// TestVerbs runs the controller with the installed roles through everything that it
// does, and compares its requests with the roles: nothing is refused, and nothing is
// granted that is not used.
func TestVerbs(t *testing.T) {
	w := open(t)
	defer w.told(t, "TestVerbs")
	t.Run("asked", func(t *testing.T) { w.verbs(t) })
	t.Run("another_environment", func(t *testing.T) { w.another(t) })
}

func (w *world) verbs(t *testing.T) {
	q := &requests{asked: map[string]int{}}
	w.behind(t, q.through, "--leader-elect-namespace", system)
	done := func(id string) {
		t.Helper()
		w.follow(t, id, v1alpha1.Deployed, long)
	}
	did := func(what string) {
		t.Helper()
		w.eventually(t, time.Minute, what, func() bool {
			q.mu.Lock()
			defer q.mu.Unlock()
			return q.asked[what] > 0
		})
	}
	autoscaled := func(most int32) func(*v1alpha1.ModelDeploymentSpec) {
		return func(s *v1alpha1.ModelDeploymentSpec) {
			s.Autoscaling = &v1alpha1.Autoscaling{MinReplicas: 1, MaxReplicas: most}
		}
	}
	numbers := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: render.NumbersName}}
	if err := client.IgnoreNotFound(w.Delete(context.Background(), numbers)); err != nil {
		t.Fatal(err)
	}
	done(w.deploy(t, "1.0.0", "--strategy", "direct", "--replicas", "1", "--samples", "50"))
	w.edit(t, autoscaled(2))
	did("create horizontalpodautoscalers.autoscaling")
	w.edit(t, autoscaled(3))
	did("patch horizontalpodautoscalers.autoscaling")
	w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Autoscaling = nil })
	did("delete horizontalpodautoscalers.autoscaling")
	w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Traffic.Admit = []string{"batch"} })
	did("patch networkpolicies.networking.k8s.io")
	w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Replicas = 2 })
	did("patch deployments.apps")
	// Rows are replayed to a canary, and repeated events are counted in one object.
	id := w.deploy(t, "1.1.0", "--strategy", "canary", "--steps", "30:1s:pause", "--samples", "50")
	for range 3 {
		w.eventually(t, long, "the rollout has begun", func() bool { return w.phase(t, id) != "" && len(w.pods(t, w.revision(t, id).Spec.Hash)) > 0 })
		w.run(t, 0, "pause", id)
		w.follow(t, id, v1alpha1.Paused, long)
		w.run(t, 0, "resume", id)
		w.eventually(t, long, "the rollout continues", func() bool { // or a gate without rows holds it
			md := w.state(t)
			return !md.Spec.Paused && md.Status.ObservedGeneration == md.Generation
		})
	}
	did("patch events.")
	w.run(t, 0, "resume", id, "--full")
	done(id)
	w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.HistoryLimit = 1 })
	done(w.deploy(t, "1.2.0", "--strategy", "direct"))
	did("delete modelrevisions.runtime.pynomaly.io")
	did("delete deployments.apps")
	w.eventually(t, time.Minute, "somebody has changed the budget", func() bool {
		var b policyv1.PodDisruptionBudget
		w.get(t, client.ObjectKey{Namespace: namespace, Name: model}, &b)
		b.Spec.MaxUnavailable = &intstr.IntOrString{IntVal: 2}
		return w.Update(context.Background(), &b) == nil
	})
	did("patch poddisruptionbudgets.policy")
	var gateway *v1alpha1.GatewayReference
	w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { gateway, s.Traffic.Gateway = s.Traffic.Gateway, nil })
	did("delete httproutes.gateway.networking.k8s.io")
	w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Traffic.Gateway = gateway })
	grants := w.grants(t)
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.refused {
		t.Errorf("refused: %s", r)
	}
	var all []string
	for what, n := range q.asked {
		all = append(all, fmt.Sprintf("%6d %s", n, what))
		if !grants[what] {
			t.Errorf("it made a request that no role grants: %s", what)
		}
	}
	for what := range grants {
		if q.asked[what] == 0 {
			t.Errorf("a role grants an unused permission: %s", what)
		}
	}
	slices.Sort(all)
	t.Logf("%s", strings.Join(all, "\n"))
}

// another creates an environment while the controller runs. Nothing may happen there
// before the role exists, and everything after.
func (w *world) another(t *testing.T) {
	const name, there = "verbs", "pynomaly-verbs"
	ctx := context.Background()
	var e v1alpha1.Environment
	w.get(t, client.ObjectKey{Name: "development"}, &e)
	e.ObjectMeta = metav1.ObjectMeta{Name: name}
	e.Spec.Namespace, e.Spec.Kind = there, "development" // the name does not say it
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: there}}
	t.Cleanup(func() {
		_ = w.Delete(ctx, &e)
		_ = w.Delete(ctx, ns)
	})
	for _, o := range []client.Object{ns, &e} {
		if err := w.Create(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	if _, errs, code := w.try(t, "deploy", model+"@1.0.0", "--env", name, "--models", w.models); code != 1 || !strings.Contains(errs, "no role in namespace "+there) {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	key := client.ObjectKey{Namespace: there, Name: model}
	var md v1alpha1.ModelDeployment
	w.eventually(t, time.Minute, "the status names the missing role", func() bool {
		w.get(t, key, &md)
		c := meta.FindStatusCondition(md.Status.Conditions, v1alpha1.ConditionStalled)
		return c != nil && c.Reason == controller.ReasonNoRole && md.Status.Phase == v1alpha1.Pending
	})
	w.run(t, 0, "install", "--image", w.image, "--image-pull-policy", w.pull)
	w.eventually(t, 2*time.Minute, "the model is served there", func() bool {
		var all appsv1.DeploymentList
		w.get(t, key, &md)
		return w.List(ctx, &all, client.InNamespace(there)) == nil && len(all.Items) == 1 && all.Items[0].Status.ReadyReplicas > 0 && md.Status.Phase == v1alpha1.Deployed
	})
}
