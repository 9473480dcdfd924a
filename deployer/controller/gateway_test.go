package controller_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/controller"
	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// traefik is a page of metrics that counts a hundred requests more for each Service
// at each look.
type traefik struct {
	failing atomic.Int64 // of a hundred requests to the new revision
	down    atomic.Bool
	silent  atomic.Bool
	looks   atomic.Int64
	failed  atomic.Int64
	update  atomic.Pointer[string] // its Service
}

func (g *traefik) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if g.down.Load() {
		http.Error(w, "no", http.StatusServiceUnavailable)
		return
	}
	n := 100 * g.looks.Add(1)
	fmt.Fprintf(w, "process_start_time_seconds 1\ntraefik_service_requests_total{code=\"200\",method=\"POST\",protocol=\"http\",service=\"x@kubernetesgateway\"} %d\n", n)
	update := g.update.Load()
	if g.silent.Load() || update == nil {
		return
	}
	stable, service, _ := strings.Cut(*update, " ")
	line := func(name, code string, n int64) {
		fmt.Fprintf(w, "traefik_service_requests_total{code=%q,method=\"POST\",protocol=\"http\",service=\"%s-%s-http-80@kubernetesgateway\"} %d\n", code, ns, name, n)
	}
	bad := g.failed.Add(g.failing.Load())
	line(stable, "200", n)
	line(service, "200", n-bad)
	line(service, "502", bad)
}

// TestGatewayMetrics checks that requests which failed at the gateway, and which no
// host has counted, fail the gates; that metrics which cannot be read are no pass; and
// that a controller which restarts goes on counting.
func TestGatewayMetrics(t *testing.T) {
	for name, c := range map[string]struct {
		failing      int64
		down, silent bool
		restarts     bool
		phase, says  string
	}{
		"none fails":             {phase: v1alpha1.Deployed},
		"some fail":              {failing: 3, phase: v1alpha1.Failed, says: "error-rate: at the gateway: 0.03"},
		"a restarted controller": {failing: 3, restarts: true, phase: v1alpha1.Failed, says: "error-rate: at the gateway: 0.03"},
		"no metrics":             {down: true, phase: v1alpha1.Deploying, says: "no figures for the gates: gateway-metrics: reading the gateway's metrics: asking 127.0.0.1:"},
		"no Service":             {silent: true, phase: v1alpha1.Deploying, says: "do they count Services?"},
	} {
		t.Run(name, func(t *testing.T) {
			g := &traefik{}
			page := httptest.NewServer(g)
			defer page.Close()
			b := newBench(t, deployment(func(md *v1alpha1.ModelDeployment) {
				md.Spec.Strategy = v1alpha1.Strategy{Type: v1alpha1.Canary, Steps: []v1alpha1.Step{{Weight: 50, Hold: &metav1.Duration{Duration: 20 * time.Second}}}}
			}))
			var env v1alpha1.Environment
			if err := b.Get(t.Context(), client.ObjectKey{Name: "development"}, &env); err != nil {
				t.Fatal(err)
			}
			env.Spec.GatewayMetrics = &v1alpha1.GatewayMetrics{Kind: v1alpha1.MetricsTraefik, URL: page.URL + "/metrics"}
			if err := b.Update(t.Context(), &env); err != nil {
				t.Fatal(err)
			}
			same := map[string][]float64{"1.0.0": {1}, "1.1.0": {1}}
			b.Figures = &telling{bins: same, failed: map[string]uint64{}}
			md := b.settle()
			md.Spec.Template.Model.Version, md.Generation = "1.1.0", 2
			hash, err := render.Hash(md.Spec.Template)
			if err != nil {
				t.Fatal(err)
			}
			names := render.RevisionName(md, md.Status.Stable) + " " + render.RevisionName(md, hash)
			g.update.Store(&names)
			g.failing.Store(c.failing)
			g.down.Store(c.down)
			g.silent.Store(c.silent)
			if err := b.Update(t.Context(), md); err != nil {
				t.Fatal(err)
			}
			counted := int64(0)
			for range 40 {
				if c.restarts {
					b.Comparisons = controller.NewComparisons()
				}
				md = b.rounds(1)
				if f := md.Status.Rollout.Gateway; f != nil {
					if f.Update.Requests < counted {
						t.Fatalf("%d requests were counted, and now %d", counted, f.Update.Requests)
					}
					counted = f.Update.Requests
				}
			}
			if md.Status.Phase != c.phase || !strings.Contains(md.Status.Message, c.says) {
				t.Errorf("%s: %s\n%+v", md.Status.Phase, md.Status.Message, md.Status.Verdicts)
			}
			if md.Status.Phase == v1alpha1.Deployed && md.Status.Rollout.Gateway != nil {
				t.Error("a rollout that has ended still has the gateway's figures")
			}
			if !c.down && !c.silent && counted == 0 {
				t.Error("the status has no figures of the gateway")
			}
		})
	}
}
