//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// crowd makes deployments without pods, waits until all are deployed, and returns a
// function that removes them.
func (w *world) crowd(t *testing.T, n int) (remove func()) {
	t.Helper()
	ctx := context.Background()
	make1 := func(i int) *v1alpha1.ModelDeployment {
		id := fmt.Sprintf("scale-%04d", i)
		return &v1alpha1.ModelDeployment{
			ObjectMeta: metav1.ObjectMeta{Name: id, Namespace: namespace},
			Spec: v1alpha1.ModelDeploymentSpec{
				Environment: "development", Replicas: 0, Strategy: v1alpha1.Strategy{Type: v1alpha1.Direct},
				Template: v1alpha1.RevisionTemplate{Model: v1alpha1.ModelReference{ID: id, Version: "1.0.0"}, Image: w.image},
			},
		}
	}
	start := time.Now()
	var wg sync.WaitGroup
	for k := range 8 {
		wg.Go(func() {
			for i := k; i < n; i += 8 {
				if err := w.Create(ctx, make1(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	deployed := func() int {
		var all v1alpha1.ModelDeploymentList
		if err := w.List(ctx, &all, client.InNamespace(namespace)); err != nil {
			t.Fatal(err)
		}
		return len(slices.DeleteFunc(all.Items, func(m v1alpha1.ModelDeployment) bool {
			return !strings.HasPrefix(m.Name, "scale-") || m.Status.Phase != v1alpha1.Deployed
		}))
	}
	for until := time.Now().Add(10 * time.Minute); deployed() < n; {
		if time.Now().After(until) {
			t.Fatalf("%d of %d are deployed", deployed(), n)
		}
		time.Sleep(2 * time.Second)
	}
	t.Logf("%d were deployed after %v", n, time.Since(start).Round(time.Second))
	return func() {
		for i := range n {
			if err := client.IgnoreNotFound(w.Delete(ctx, make1(i))); err != nil {
				t.Error(err)
			}
		}
		w.eventually(t, 10*time.Minute, "their objects are gone", func() bool {
			var all v1alpha1.ModelRevisionList
			return w.List(ctx, &all, client.InNamespace(namespace)) == nil && !slices.ContainsFunc(all.Items, func(r v1alpha1.ModelRevision) bool { return strings.HasPrefix(r.Name, "scale-") })
		})
	}
}

// TestThousand creates a thousand ModelDeployments without pods. It prints the
// controller's memory and how long it takes to react to a change.
func TestThousand(t *testing.T) {
	const n, changes = 1000, 100
	w := open(t)
	defer w.table(t)
	ctx := context.Background()
	defer w.crowd(t, n)()
	var took []time.Duration
	for i := range changes {
		var md v1alpha1.ModelDeployment
		w.get(t, client.ObjectKey{Namespace: namespace, Name: fmt.Sprintf("scale-%04d", i*n/changes)}, &md)
		md.Spec.Template.Model.Version = "1.1.0"
		begun := time.Now()
		if err := w.Update(ctx, &md); err != nil {
			t.Fatal(err)
		}
		generation := md.Generation
		w.eventually(t, time.Minute, "the controller has reacted to the change", func() bool {
			w.get(t, client.ObjectKeyFromObject(&md), &md)
			return md.Status.ObservedGeneration == generation
		})
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	w.notes = append(w.notes, fmt.Sprintf("%d deployments without pods: a change is acted on after %v at the median, %v at most.", n, took[changes/2].Round(time.Millisecond), took[changes-1].Round(time.Millisecond)))
	w.notes = append(w.notes, fmt.Sprintf("The controller holds %.0f MiB then.", w.largest(t)/(1<<20)))
}

// TestFifty creates fifty ModelDeployments without pods, and checks what the controllers
// need when nothing happens.
func TestFifty(t *testing.T) {
	const (
		n     = 50
		bytes = 150e6
		rate  = 5 // requests to the API server per second, of all controllers
		rest  = time.Minute
	)
	w := open(t)
	defer w.table(t)
	defer w.crowd(t, n)()
	w.eventually(t, 5*time.Minute, "the controllers are at rest", func() bool {
		before := w.requests(t)
		time.Sleep(10 * time.Second)
		return (w.requests(t)-before)/10 < rate
	})
	before, start := w.requests(t), time.Now()
	time.Sleep(rest) // a rate is measured over a time
	asked := (w.requests(t) - before) / time.Since(start).Seconds()
	held := w.largest(t)
	w.notes = append(w.notes, fmt.Sprintf("%d deployments at rest: the controller holds %.0f MB, and the controllers send %.2f requests/s to the API server.", n, held/1e6, asked))
	if held > bytes || asked > rate {
		t.Errorf("it holds %.0f bytes, and asks %.2f times a second: more than %.0f and %d", held, asked, bytes, rate)
	}
}

// largest returns the memory of the controller that holds most, in bytes.
func (w *world) largest(t *testing.T) float64 {
	t.Helper()
	most := 0.0
	for _, p := range w.controllers(t) {
		for _, v := range metric(t, p.Name, "process_resident_memory_bytes") {
			most = max(most, v)
		}
	}
	if most == 0 {
		t.Fatal("no controller reports its memory")
	}
	return most
}

// requests returns how many requests the controllers have sent to the API server.
func (w *world) requests(t *testing.T) float64 {
	t.Helper()
	sum := 0.0
	for _, p := range w.controllers(t) {
		for _, v := range metric(t, p.Name, "rest_client_requests_total") {
			sum += v
		}
	}
	if sum == 0 {
		t.Fatal("no controller reports its requests")
	}
	return sum
}

// metric returns the values of a controller's metric, one for each of its label sets.
func metric(t *testing.T, pod, name string) (out []float64) {
	t.Helper()
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil).ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	c, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Get(cfg.Host + "/api/v1/namespaces/pynomaly-system/pods/" + pod + ":8081/proxy/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}
