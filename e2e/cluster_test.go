//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/controller"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

const model = "ecod-c"

// world is the cluster that the tests share.
type world struct {
	client.WithWatch
	binary, models, image, pull string
	key                         string // of a viewer in development
	rate                        int
	rows                        []row
	notes                       []string // printed below the table
}

// row is a line of the table.
type row struct {
	scenario string
	sent     int
	lost     int
	took     time.Duration
	verdict  string
}

func env(name, other string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return other
}

// connect returns the cluster.
func connect(t *testing.T) *world {
	t.Helper()
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil).ClientConfig()
	if err != nil {
		t.Fatalf("there is no cluster: %v; run `make e2e` or set KUBECONFIG", err)
	}
	cfg.QPS, cfg.Burst = 100, 200
	scheme, err := controller.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		WithWatch: c, binary: env("E2E_BINARY", "../bin/pynomaly-runtime"), models: env("E2E_MODELS", "../bin/e2e-models"),
		image: env("E2E_IMAGE", "pynomaly-runtime:e2e"), pull: env("E2E_PULL_POLICY", "Never"), rate: 100,
	}
	if text := os.Getenv("E2E_RATE"); text != "" {
		if _, err := fmt.Sscan(text, &w.rate); err != nil {
			t.Fatalf("E2E_RATE: %v", err)
		}
	}
	return w
}

// busy is the gate that a machine can fail which runs everything on few cores.
const busy = "latency"

// open connects to the cluster and installs the deployer. Gates are skipped whose names
// are given.
func open(t *testing.T, skip ...string) *world {
	t.Helper()
	w := connect(t)
	w.run(t, 0, "install", "--image", w.image, "--image-pull-policy", w.pull)
	for _, name := range []string{"development", "staging", "production"} {
		var e v1alpha1.Environment
		w.get(t, client.ObjectKey{Name: name}, &e)
		e.Spec.Image, e.Spec.ImagePullPolicy, e.Spec.Autoscaling, e.Spec.Replicas = w.image, corev1.PullPolicy(w.pull), nil, 2
		e.Spec.Resources = corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("64Mi"),
		}}
		e.Spec.Access = &v1alpha1.Access{AnonymousPredict: new(bool)}       // nobody predicts without a key
		e.Spec.Strategy.Gates = &v1alpha1.Gates{MinSamples: 40, Skip: skip} // the load is light
		e.Spec.Strategy.Drain = span(5 * time.Second)
		e.Spec.Traffic = v1alpha1.Traffic{Gateway: &v1alpha1.GatewayReference{Name: "web", Namespace: "gateway"}, Hostnames: []string{name + ".test"}}
		if err := w.Update(t.Context(), &e); err != nil {
			t.Fatal(err)
		}
	}
	w.key = strings.TrimSpace(w.run(t, 0, "key", "create", "--env", "development", "--role", "viewer", "--name", "load"))
	if err := w.DeleteAllOf(context.Background(), &v1alpha1.ModelDeployment{}, client.InNamespace(namespace)); err != nil {
		t.Fatal(err) // one of an earlier run has other settings
	}
	w.eventually(t, time.Minute, "nothing of an earlier run is left", func() bool {
		var all v1alpha1.ModelRevisionList
		err := w.List(context.Background(), &all, client.InNamespace(namespace))
		return err == nil && len(all.Items) == 0
	})
	w.eventually(t, time.Minute, "the controller runs", func() bool { return len(w.controllers(t)) == 2 })
	return w
}

// run runs a deploy command, checks its exit code, and returns its output.
func (w *world) run(t *testing.T, code int, args ...string) string {
	t.Helper()
	out, errs, got := w.try(t, args...)
	if got != code {
		t.Fatalf("deploy %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, out, errs)
	}
	return out
}

func (w *world) try(t *testing.T, args ...string) (out, errs string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.binary, append([]string{"deploy"}, args...)...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

// deploy deploys a version to development and returns the deployment's id.
func (w *world) deploy(t *testing.T, version string, args ...string) string {
	t.Helper()
	out := w.run(t, 0, append([]string{"deploy", model + "@" + version, "--env", "development", "--models", w.models, "--json"}, args...)...)
	var d struct {
		ID string `json:"deployment_id"`
	}
	if err := json.Unmarshal([]byte(out), &d); err != nil || d.ID == "" {
		t.Fatalf("%v: %s", err, out)
	}
	return d.ID
}

// follow waits until a deployment has ended, and checks its phase.
func (w *world) follow(t *testing.T, id, phase string, within time.Duration) {
	t.Helper()
	w.eventually(t, within, id+" is "+phase, func() bool {
		r := w.revision(t, id)
		ended := r.Status.Phase == v1alpha1.Failed || r.Status.Phase == v1alpha1.RolledBack
		if ended && (phase == v1alpha1.Deployed || phase == v1alpha1.Paused) {
			t.Fatalf("%s is %s: %s", id, r.Status.Phase, r.Status.Message)
		}
		return r.Status.Phase == phase
	})
}

func (w *world) phase(t *testing.T, id string) string {
	t.Helper()
	return w.revision(t, id).Status.Phase
}

func (w *world) revision(t *testing.T, id string) *v1alpha1.ModelRevision {
	t.Helper()
	number := id[strings.LastIndexByte(id, '-')+1:]
	var r v1alpha1.ModelRevision
	w.get(t, client.ObjectKey{Namespace: namespace, Name: model + "-" + number}, &r)
	return &r
}

const namespace = "pynomaly-development"

func (w *world) get(t *testing.T, key client.ObjectKey, o client.Object) {
	t.Helper()
	if err := w.Get(context.Background(), key, o); err != nil {
		t.Fatal(err)
	}
}

func (w *world) state(t *testing.T) *v1alpha1.ModelDeployment {
	t.Helper()
	var md v1alpha1.ModelDeployment
	w.get(t, client.ObjectKey{Namespace: namespace, Name: model}, &md)
	return &md
}

// edit changes the ModelDeployment, and tries again after conflicts.
func (w *world) edit(t *testing.T, change func(*v1alpha1.ModelDeploymentSpec)) {
	t.Helper()
	w.eventually(t, 10*time.Second, "the change is written", func() bool {
		md := w.state(t)
		change(&md.Spec)
		return w.Update(context.Background(), md) == nil
	})
}

func (w *world) pods(t *testing.T, hash string) []corev1.Pod {
	t.Helper()
	var list corev1.PodList
	if err := w.List(context.Background(), &list, client.InNamespace(namespace), client.MatchingLabels{v1alpha1.Group + "/revision": hash}); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// controllers returns the ready pods of the controller.
func (w *world) controllers(t *testing.T) []corev1.Pod {
	t.Helper()
	var list corev1.PodList
	if err := w.List(context.Background(), &list, client.InNamespace("pynomaly-system")); err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		return p.DeletionTimestamp != nil || !slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady && c.Status == "True" })
	})
}

// weight returns the share of a revision in the route.
func (w *world) weight(t *testing.T, hash string) int32 {
	t.Helper()
	var r gatewayv1.HTTPRoute
	w.get(t, client.ObjectKey{Namespace: namespace, Name: model}, &r)
	for _, b := range r.Spec.Rules[0].BackendRefs {
		if strings.HasSuffix(string(b.Name), hash) {
			return *b.Weight
		}
	}
	return 0
}

func (w *world) eventually(t *testing.T, within time.Duration, what string, done func() bool) {
	t.Helper()
	until := time.Now().Add(max(within, long)) // ends only what hangs
	for !done() {
		if time.Now().After(until) {
			var md v1alpha1.ModelDeployment
			_ = w.Get(context.Background(), client.ObjectKey{Namespace: namespace, Name: model}, &md)
			t.Fatalf("timed out: %s; the rollout is %+v: %s", what, md.Status.Rollout, md.Status.Message)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// answers reports whether the gateway has a route for a host name.
func answers(host string) bool {
	req, err := http.NewRequest(http.MethodGet, gateway()+"/ready", nil)
	if err != nil {
		return false
	}
	req.Host = host
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// told prints the result of a test that is not a scenario.
func (w *world) told(t *testing.T, name string) {
	verdict := "passed"
	if t.Failed() {
		verdict = "failed"
	}
	w.notes = append(w.notes, name+": "+verdict)
	w.table(t)
}

// table prints the results.
func (w *world) table(t *testing.T) {
	var b bytes.Buffer
	tw := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	if len(w.rows) > 0 {
		fmt.Fprintln(tw, "SCENARIO\tREQUESTS\tNON-2XX\tSECONDS\tVERDICT")
	}
	for _, r := range w.rows {
		fmt.Fprintf(tw, "%s\t%d\t%d\t%.0f\t%s\n", r.scenario, r.sent, r.lost, r.took.Seconds(), r.verdict)
	}
	_ = tw.Flush()
	for _, n := range w.notes {
		fmt.Fprintln(&b, n)
	}
	t.Log("\n" + b.String())
	if file := os.Getenv("E2E_TABLE"); file != "" {
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.Write(b.Bytes()); err != nil {
			t.Error(err)
		}
	}
}

func span(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }
