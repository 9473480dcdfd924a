//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// node returns this machine's address as pods see it.
func node() string { return env("E2E_NODE", "192.0.2.20") }

// start runs one of the cluster's programs until the test ends or stop is called.
func start(t *testing.T, url, name string, args ...string) (stop func()) {
	t.Helper()
	program := filepath.Join(env("E2E_BIN", "/var/tmp/pynomaly-e2e/bin"), name)
	log, err := os.Create(filepath.Join(t.TempDir(), name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), "OTEL_TRACES_EXPORTER=none"), log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	stop = func() {
		if !ended {
			ended = true
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
		}
	}
	t.Cleanup(func() {
		stop()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("%s printed: %.3000s", name, text)
		}
	})
	for until := time.Now().Add(long); time.Now().Before(until); {
		resp, err := http.Get(url)
		if err == nil {
			_ = resp.Body.Close()
			return stop
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("%s does not answer at %s", name, url)
	return nil
}

// TestDelivery checks that pods pull the model from a registry, and do not start
// with a wrong one.
func TestDelivery(t *testing.T) {
	w := open(t)
	defer w.table(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "registry.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: \"0.0.0.0:5000\"}\n", filepath.Join(dir, "stored"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	stop := start(t, "http://127.0.0.1:5000/v2/", "registry", "serve", config)
	references := map[string]string{}
	for _, version := range []string{"1.0.0", "1.1.0", "2.1.0"} {
		// 2.1.0 is pushed unchecked: its error appears when it is loaded.
		out, err := exec.Command(w.binary, "model", "push", filepath.Join(w.models, model, version), node()+":5000/models/ecod", "--plain-http").Output()
		if err != nil && version != "2.1.0" {
			t.Fatalf("pushing %s: %v: %s", version, err, out)
		}
		references[version] = strings.TrimSpace(string(out))
	}
	oci := func(reference string) []string {
		return []string{"--models-oci", reference, "--models-oci-plain-http"}
	}
	w.scenario(t, "models from an OCI registry", 2, func(t *testing.T, l *load) {
		w.follow(t, w.deploy(t, "1.1.0", append(oci(references["1.1.0"]), "--strategy", "canary", "--steps", "20:2s")...), v1alpha1.Deployed, long)
		wrong := w.deploy(t, "1.2.0", append(oci(references["1.1.0"]), "--strategy", "rolling")...)
		w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Deadline = span(15 * time.Second) })
		w.follow(t, wrong, v1alpha1.Failed, long)
		if m := w.revision(t, wrong).Status.Message; !strings.Contains(m, "is ecod-c@1.1.0, not ecod-c@1.2.0") {
			t.Errorf("it failed with %q", m)
		}
		stop()
		gone := w.deploy(t, "1.0.0", append(oci(references["1.0.0"]), "--strategy", "rolling")...)
		w.follow(t, gone, v1alpha1.Failed, long)
		if m := w.revision(t, gone).Status.Message; !strings.Contains(m, "model-pull") {
			t.Errorf("it failed with %q", m)
		}
		w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Deadline = nil })
	})
	// Later tests have their models in the image again.
	w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Template.Source = v1alpha1.Source{Type: "image"} })
}

// TestPrometheus checks that gates read requests and latency from Prometheus, and
// that a rollout waits if Prometheus is down.
func TestPrometheus(t *testing.T) {
	w := open(t)
	defer w.table(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	// Debian's Prometheus is built without the discovery of pods.
	targets := filepath.Join(dir, "targets.json")
	text := fmt.Sprintf("global: {scrape_interval: 2s}\nscrape_configs: [{job_name: pods, file_sd_configs: [{files: [%q]}]}]\n", targets)
	w.discover(t, targets)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	stop := start(t, "http://127.0.0.1:9091/-/ready", "prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=0.0.0.0:9091")
	install := func(args ...string) {
		w.run(t, 0, append([]string{"install", "--image", w.image, "--image-pull-policy", w.pull}, args...)...)
		w.eventually(t, 2*time.Minute, "the controllers are the new ones", func() bool {
			var d appsv1.Deployment
			w.get(t, client.ObjectKey{Namespace: "pynomaly-system", Name: "pynomaly-controller"}, &d)
			return d.Status.ObservedGeneration == d.Generation && d.Status.UpdatedReplicas == 2 && d.Status.Replicas == 2 && d.Status.ReadyReplicas == 2
		})
	}
	install("--prometheus-url", "http://"+node()+":9091")
	defer install()
	w.scenario(t, "gates ask Prometheus", 2, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", "--strategy", "canary", "--steps", "20:5s")
		w.follow(t, id, v1alpha1.Deployed, long)
		judged := map[string]string{}
		for _, v := range w.state(t).Status.Verdicts {
			judged[v.Gate] = v.Result
		}
		if judged["latency"] != "Pass" || judged["prometheus"] != "Pass" {
			t.Errorf("the verdicts are: %v", judged)
		}
		var told bool
		for _, e := range w.events(t) {
			told = told || strings.Contains(e, id+": latency: Pass")
		}
		if !told {
			t.Error("there is no Event for the verdict on latency")
		}
		if n := asked(t); n < 3 {
			t.Errorf("Prometheus answered %d queries", n)
		}
	})
	w.scenario(t, "19 Prometheus is down: no pass", 2, func(t *testing.T, l *load) {
		stop()
		id := w.deploy(t, "1.2.0", "--strategy", "canary", "--steps", "20:1s")
		w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Deadline = span(20 * time.Second) })
		defer w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Deadline = nil })
		w.follow(t, id, v1alpha1.Failed, long)
		if m := w.revision(t, id).Status.Message; !strings.Contains(m, "asking Prometheus") {
			t.Errorf("it failed with %q", m)
		}
	})
}

// asked returns how many queries Prometheus has answered.
func asked(t *testing.T) int {
	t.Helper()
	resp, err := http.Get("http://127.0.0.1:9091/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`prometheus_http_requests_total\{code="200",handler="/api/v1/query"\} (\d+)`).FindSubmatch(text)
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// discover keeps a file with the present pods up to date until the test ends.
func (w *world) discover(t *testing.T, file string) {
	type group struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			var all corev1.PodList
			groups := []group{}
			if err := w.List(ctx, &all, client.InNamespace(namespace)); err == nil {
				for _, p := range all.Items {
					if p.Status.PodIP != "" {
						groups = append(groups, group{[]string{p.Status.PodIP + ":8080"}, map[string]string{"namespace": namespace, "pod": p.Name}})
					}
				}
				text, err := json.Marshal(groups)
				if err == nil && os.WriteFile(file+".new", text, 0o600) == nil {
					_ = os.Rename(file+".new", file)
				}
			}
			time.Sleep(500 * time.Millisecond)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// events returns the messages of the deployment's events.
func (w *world) events(t *testing.T) []string {
	t.Helper()
	out, err := exec.CommandContext(context.Background(), "kubectl", "-n", namespace, "get", "events", "-o", "jsonpath={range .items[*]}{.message}{\"\\n\"}{end}").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(out), "\n")
}
