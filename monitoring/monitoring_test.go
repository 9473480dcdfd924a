//go:build monitoring

package monitoring_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

// dashboard is what the tests read of a file of Grafana's.
type dashboard struct {
	Title, UID string
	Panels     []struct {
		Title   string
		Targets []struct{ Expr string }
	}
}

func dashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(testkit.Root(), "docs", "grafana", "*.json"))
	if err != nil || len(files) < 3 {
		t.Fatalf("dashboards: %v, %v", files, err)
	}
	all := map[string]dashboard{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = d
	}
	return all
}

// expression is what Grafana asks for where all models and hosts are chosen.
func expression(text string) string {
	return strings.NewReplacer("$__rate_interval", "1m", "$model", ".*", "$version", ".*", "$instance", ".*").Replace(text)
}

// harm matches the lines that show something only when something is wrong, or where there
// is a limit.
var harm = regexp.MustCompile(`error|stuck|restarts|panics|resets|dropped|fail|> 0$`)

// TestMonitoring: a Prometheus reads a host that serves models of each backend, takes the
// alerts, and has data for every line of every dashboard.
func TestMonitoring(t *testing.T) {
	host := served(t)
	p := startPrometheus(t, host.Address)
	lines := 0
	for name, d := range dashboards(t) {
		for _, panel := range d.Panels {
			for _, target := range panel.Targets {
				lines++
				expr := expression(target.Expr)
				if harm.MatchString(expr) {
					p.query(t, expr) // it must be one that Prometheus takes
					continue
				}
				testkit.Eventually(t, fmt.Sprintf("%s, %s has data: %s", name, panel.Title, expr), func() bool {
					traffic(host)
					return len(p.query(t, expr)) > 0
				})
			}
		}
	}
	if lines < 50 {
		t.Errorf("the dashboards have only %d lines", lines)
	}
	var rules struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
	}
	testkit.Eventually(t, "all alerts have been evaluated", func() bool {
		p.get(t, "/api/v1/rules", nil, &rules)
		for _, g := range rules.Data.Groups {
			for _, r := range g.Rules {
				if r.Health == "unknown" {
					return false
				}
			}
		}
		return len(rules.Data.Groups) > 0
	})
	for _, g := range rules.Data.Groups {
		for _, r := range g.Rules {
			if r.Health != "ok" {
				t.Errorf("%s: %s", r.Name, r.LastError)
			}
		}
	}
}

// TestNativeHistograms: a Prometheus that takes native histograms gets those of durations,
// and the traces of requests as their exemplars.
func TestNativeHistograms(t *testing.T) {
	host := served(t, "--trace-endpoint", "http://127.0.0.1:1", "--trace-ratio", "1")
	p := startPrometheus(t, host.Address)
	for _, expr := range []string{
		`histogram_quantile(0.5, rate(model_prediction_duration_seconds{model_id="module"}[1m]))`,
		`histogram_count(model_prediction_duration_seconds{model_id="module"}) > 0`,
		`histogram_count(model_load_duration_seconds{model_id="module"}) > 0`,
		`model_prediction_duration_seconds_bucket{model_id="module",le="+Inf"} > 0`,
	} {
		testkit.Eventually(t, expr+" has data", func() bool {
			traffic(host)
			return len(p.query(t, expr)) > 0
		})
	}
	testkit.Eventually(t, "there are exemplars", func() bool {
		traffic(host)
		var answer struct {
			Data []struct {
				Exemplars []struct{ Labels map[string]string }
			}
		}
		now := time.Now()
		p.get(t, "/api/v1/query_exemplars", url.Values{
			"query": {`model_prediction_duration_seconds_bucket`}, "start": {now.Add(-time.Hour).Format(time.RFC3339)}, "end": {now.Add(time.Minute).Format(time.RFC3339)},
		}, &answer)
		return len(answer.Data) > 0 && len(answer.Data[0].Exemplars) > 0 && len(answer.Data[0].Exemplars[0].Labels["trace_id"]) == 32
	})
}

// TestNames: the names of all metrics, and their help, are as Prometheus wants them.
func TestNames(t *testing.T) {
	host := served(t)
	traffic(host)
	_, text := host.Send(http.MethodGet, "/metrics", "")
	cmd := exec.CommandContext(t.Context(), tool(t, "promtool"), "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// served is a host with models of each backend, and one that is broken.
func served(t *testing.T, args ...string) *hosttest.Host {
	t.Helper()
	p := hosttest.NewPlace(t)
	testkit.CopyModel(t, p.Models, "ecod-rust", "module", "1.0.0", nil)
	testkit.CopyModel(t, p.Models, "thyroid-ocsvm", "graph", "1.0.0", nil)
	broken := filepath.Join(p.Models, "broken", "1.0.0")
	if err := os.MkdirAll(broken, 0o755); err != nil { //nolint:gosec // as models are
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(broken, "model.yaml"), []byte("id: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := hosttest.Start(t, p, hosttest.Options{Args: args})
	h.Serves("module")
	h.Serves("graph")
	return h
}

// traffic sends some requests, one of them bad.
func traffic(h *hosttest.Host) {
	for _, body := range []string{
		`{"model_id":"module","data":[8,155,62,26,495,34,0.543,46]}`,
		`{"model_id":"module","data":[0,0,0,0,0,0,0,0]}`,
		`{"model_id":"graph","data":[0.15,0.0016,0.18,0.42,0.47,0.24]}`,
		`{"model_id":"graph","data":[1]}`,
	} {
		h.Send(http.MethodPost, "/api/v1/predict", body)
	}
}

// tool is a program of Prometheus's.
func tool(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(testkit.Root(), "bin", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("there is no %s: run make test-monitoring: %v", name, err)
	}
	return path
}

// prometheus is a running one.
type prometheus struct{ url string }

// startPrometheus starts a Prometheus that reads a host each second and has the alerts.
func startPrometheus(t *testing.T, host string) *prometheus {
	t.Helper()
	dir, address := t.TempDir(), testkit.FreeAddress(t)
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s, scrape_native_histograms: true, always_scrape_classic_histograms: true}\nrule_files: [%q]\nscrape_configs:\n  - job_name: host\n    static_configs: [{targets: [%q]}]\n",
		filepath.Join(testkit.Root(), "docs", "alerts.yaml"), host)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(tool(t, "prometheus"), "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--enable-feature=exemplar-storage")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus: %s", log.String())
		}
	})
	p := &prometheus{url: "http://" + address}
	testkit.Eventually(t, "prometheus is ready", func() bool {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/-/ready", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return p
}

// get asks Prometheus's API.
func (p *prometheus) get(t *testing.T, path string, query url.Values, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+path+"?"+query.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %v", path, query, into)
	}
}

// query evaluates an expression now.
func (p *prometheus) query(t *testing.T, expr string) []json.RawMessage {
	t.Helper()
	var answer struct {
		Error string
		Data  struct{ Result []json.RawMessage }
	}
	p.get(t, "/api/v1/query", url.Values{"query": {expr}}, &answer)
	return answer.Data.Result
}
