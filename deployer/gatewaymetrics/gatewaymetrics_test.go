package gatewaymetrics_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/deployer/gatewaymetrics"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

func open(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func of(service string, backend int) gatewaymetrics.Target {
	return gatewaymetrics.Target{Namespace: "prod", Route: "cardio", Service: service, Port: 80, Backend: backend}
}

// TestOf checks what is counted for a Service on the pages of Traefik and Envoy.
func TestOf(t *testing.T) {
	for name, c := range map[string]struct {
		page, kind string
		target     gatewaymetrics.Target
		want       gatewaymetrics.Count
		err        error
	}{
		"Traefik": {
			"traefik.txt", v1alpha1.MetricsTraefik, of("cardio-1a2b3c4d", 0),
			gatewaymetrics.Count{Known: true, Requests: 104, Errors: 3, Edges: []int64{100_000, 300_000, 1_200_000, 5_000_000}, Bins: []int64{2, 0, 0, 0, 0}}, nil,
		},
		"Traefik before 3.6":  {"traefik.txt", v1alpha1.MetricsTraefik, of("cardio-55555555", 1), gatewaymetrics.Count{Known: true, Requests: 7}, nil},
		"another Service":     {"traefik.txt", v1alpha1.MetricsTraefik, of("cardio-1a2b3c4", 0), gatewaymetrics.Count{}, nil},
		"another namespace":   {"traefik.txt", v1alpha1.MetricsTraefik, gatewaymetrics.Target{Namespace: "production", Service: "cardio-1a2b3c4d", Port: 80}, gatewaymetrics.Count{}, nil},
		"another port":        {"traefik.txt", v1alpha1.MetricsTraefik, gatewaymetrics.Target{Namespace: "prod", Service: "cardio-1a2b3c4d", Port: 8080}, gatewaymetrics.Count{}, nil},
		"Traefik is no Envoy": {"traefik.txt", v1alpha1.MetricsEnvoy, of("cardio-1a2b3c4d", 0), gatewaymetrics.Count{}, nil},
		"a Service of Envoy": {
			"envoy.txt", v1alpha1.MetricsEnvoy, of("cardio-1a2b3c4d", 0),
			gatewaymetrics.Count{Known: true, Requests: 100, Errors: 2, Edges: []int64{500, 1000, 5000}, Bins: []int64{10, 50, 39, 1}}, nil,
		},
		"a backend of Envoy Gateway": {"envoy.txt", v1alpha1.MetricsEnvoy, of("cardio-55555555", 1), gatewaymetrics.Count{Known: true, Requests: 7}, nil},
		"no backend":                 {"envoy.txt", v1alpha1.MetricsEnvoy, of("cardio-55555555", -1), gatewaymetrics.Count{}, nil},
		"a route as a whole":         {"envoy.txt", v1alpha1.MetricsEnvoy, gatewaymetrics.Target{Namespace: "prod", Route: "other", Service: "other-1", Port: 80}, gatewaymetrics.Count{}, gatewaymetrics.ErrTogether},
		"scraped by Prometheus":      {"traefik.txt", v1alpha1.MetricsPrometheus, of("cardio-55555555", 1), gatewaymetrics.Count{Known: true, Requests: 7}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			all, err := gatewaymetrics.Parse(strings.NewReader(open(t, c.page)))
			if err != nil {
				t.Fatal(err)
			}
			got, err := gatewaymetrics.Of(c.kind, all, c.target)
			if !errors.Is(err, c.err) || (err == nil && !reflect.DeepEqual(got, c.want)) {
				t.Errorf("%+v, %v, want %+v, %v", got, err, c.want, c.err)
			}
		})
	}
}

// TestOfRefuses checks that what is no count is an error.
func TestOfRefuses(t *testing.T) {
	const service = `service="prod-cardio-1-http-80@kubernetesgateway"`
	for _, text := range []string{
		`traefik_service_requests_total{code="200",` + service + `} NaN`,
		`traefik_service_requests_total{code="200",` + service + `} -1`,
		`traefik_service_requests_total{code="200",` + service + `} +Inf`,
		`traefik_service_request_duration_seconds_bucket{code="200",le="soon",` + service + `} 1`,
		`traefik_service_request_duration_seconds_bucket{code="200",le="-1",` + service + `} 1`,
	} {
		all, err := gatewaymetrics.Parse(strings.NewReader(text + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := gatewaymetrics.Of(v1alpha1.MetricsTraefik, all, of("cardio-1", 0)); err == nil {
			t.Errorf("%s: %+v", text, got)
		}
	}
	if _, err := gatewaymetrics.Parse(strings.NewReader("<html>no metrics</html>")); err == nil {
		t.Error("a page of HTML was read")
	}
}

// TestRead reads real pages over HTTP, and says what is wrong with others.
func TestRead(t *testing.T) {
	page, prometheus := open(t, "traefik.txt"), `{"status":"success","data":{"resultType":"vector","result":[
		{"metric":{"__name__":"traefik_service_requests_total","instance":"10.0.0.1:9100","pod":"traefik-1","job":"a","code":"200","service":"prod-cardio-1a2b3c4d-http-80@kubernetesgateway"},"value":[1,"90"]},
		{"metric":{"__name__":"traefik_service_requests_total","instance":"10.0.0.1:9101","pod":"traefik-1","job":"b","code":"200","service":"prod-cardio-1a2b3c4d-http-80@kubernetesgateway"},"value":[1,"90"]},
		{"metric":{"__name__":"traefik_service_requests_total","instance":"10.0.0.2:9100","pod":"traefik-2","job":"a","code":"502","service":"prod-cardio-1a2b3c4d-http-80@kubernetesgateway"},"value":[1,"10"]}]}}`
	asked := ""
	mux := http.NewServeMux()
	say := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			asked = r.FormValue("query")
			_, _ = w.Write([]byte(text))
		}
	}
	mux.HandleFunc("/metrics", say(page))
	mux.HandleFunc("/api/v1/query", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		say(prometheus)(w, r)
	})
	mux.HandleFunc("/none/api/v1/query", say(`{"status":"success","data":{"resultType":"vector","result":[]}}`))
	mux.HandleFunc("/moved", http.RedirectHandler("/metrics", http.StatusFound).ServeHTTP)
	mux.HandleFunc("/html", say("<html>"))
	large := strings.Repeat("# nothing of ours, and much of it\n", 1<<15)
	mux.HandleFunc("/large", say(large))
	mux.HandleFunc("/much/api/v1/query", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		say(`{"status":"`+large)(w, r)
	})
	reader := gatewaymetrics.Reader{Timeout: time.Minute, MaxBytes: 1 << 20}
	server := httptest.NewServer(mux)
	defer server.Close()
	gone := httptest.NewServer(mux)
	gone.Close()
	for name, c := range map[string]struct {
		kind, url string
		requests  int64
		errors    int64
		instances int
		says      string
	}{
		"a page":           {v1alpha1.MetricsTraefik, server.URL + "/metrics", 104, 3, 1, ""},
		"Prometheus":       {v1alpha1.MetricsPrometheus, server.URL, 100, 10, 2, ""},
		"nothing scraped":  {v1alpha1.MetricsPrometheus, server.URL + "/none", 0, 0, 0, "does it scrape the gateway?"},
		"a large page":     {v1alpha1.MetricsTraefik, server.URL + "/large", 0, 0, 0, "longer than 1 MiB"},
		"a large answer":   {v1alpha1.MetricsPrometheus, server.URL + "/much", 0, 0, 0, "too large"},
		"a redirect":       {v1alpha1.MetricsTraefik, server.URL + "/moved", 0, 0, 0, "302"},
		"another page":     {v1alpha1.MetricsTraefik, server.URL + "/html", 0, 0, 0, "parsing metrics"},
		"no page":          {v1alpha1.MetricsTraefik, server.URL + "/nowhere", 0, 0, 0, "404"},
		"nobody there":     {v1alpha1.MetricsTraefik, gone.URL + "/metrics", 0, 0, 0, "refused"},
		"a name of nobody": {v1alpha1.MetricsTraefik, "http://gateway.invalid/metrics", 0, 0, 0, "looking gateway.invalid up"},
	} {
		t.Run(name, func(t *testing.T) {
			all, err := reader.Read(t.Context(), &v1alpha1.GatewayMetrics{Kind: c.kind, URL: c.url}, [2]gatewaymetrics.Target{of("cardio-1a2b3c4d", 0), of("cardio-55555555", 1)})
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Fatalf("%v, want one that says %q", err, c.says)
				}
				return
			}
			var requests, failed int64
			for _, r := range all {
				requests += r.Counts[gatewaymetrics.Update].Requests
				failed += r.Counts[gatewaymetrics.Update].Errors
			}
			if err != nil || requests != c.requests || failed != c.errors || len(all) != c.instances {
				t.Errorf("%+v, %v", all, err)
			}
		})
	}
	if _, err := reader.Read(t.Context(), &v1alpha1.GatewayMetrics{Kind: v1alpha1.MetricsPrometheus, URL: server.URL}, [2]gatewaymetrics.Target{of("cardio-1", 0), of("cardio-2", 1)}); err != nil {
		t.Fatal(err)
	}
	if want := `service=~".*(cardio-1|cardio-2).*"`; !strings.Contains(asked, want) {
		t.Errorf("Prometheus was asked for %s, want %s", asked, want)
	}
}

// TestTracker checks what is added up when instances of a gateway start, restart, end
// and forget, and that a controller which restarts at any moment counts the same.
func TestTracker(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(name string, started time.Duration, requests, failed int64, bins ...int64) gatewaymetrics.Reading {
		r := gatewaymetrics.Reading{Name: name, Started: began.Add(started)}
		c := gatewaymetrics.Count{Known: true, Requests: requests, Errors: failed}
		if bins != nil {
			c.Edges, c.Bins = []int64{1000}, bins
		}
		r.Counts[gatewaymetrics.Update] = c
		return r
	}
	missing := at("a", -time.Hour, 0, 0)
	missing.Counts[gatewaymetrics.Update] = gatewaymetrics.Count{}
	type steps [][]gatewaymetrics.Reading
	for name, c := range map[string]struct {
		all                steps
		requests, failures int64
		bins               []int64
	}{
		"from the beginning":        {steps{{at("a", -time.Hour, 100, 50)}, {at("a", -time.Hour, 130, 52)}}, 30, 2, nil},
		"a new instance":            {steps{{at("a", -time.Hour, 100, 0)}, {at("a", -time.Hour, 110, 0), at("b", time.Minute, 7, 1)}}, 17, 1, nil},
		"an instance restarts":      {steps{{at("a", -time.Hour, 100, 0)}, {at("a", time.Minute, 120, 3)}}, 120, 3, nil},
		"it forgets":                {steps{{at("a", -time.Hour, 100, 5)}, {at("a", -time.Hour, 110, 6)}, {at("a", -time.Hour, 4, 1)}}, 14, 2, nil},
		"it ends":                   {steps{{at("a", -time.Hour, 100, 0)}, {at("a", -time.Hour, 150, 0)}, {at("b", time.Minute, 5, 0)}}, 55, 0, nil},
		"its series comes later":    {steps{{missing}, {at("a", -time.Hour, 9, 1)}}, 9, 1, nil},
		"its series is away once":   {steps{{at("a", -time.Hour, 100, 0)}, {missing}, {at("a", -time.Hour, 103, 0)}}, 3, 0, nil},
		"durations":                 {steps{{at("a", -time.Hour, 10, 0, 8, 2)}, {at("a", -time.Hour, 16, 0, 12, 4)}}, 6, 0, []int64{4, 2}},
		"durations after a restart": {steps{{at("a", -time.Hour, 10, 0, 8, 2)}, {at("a", time.Second*2, 3, 0, 2, 1)}}, 3, 0, []int64{2, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, restarts := range []bool{false, true} {
				k := gatewaymetrics.NewTracker(began, began)
				for _, all := range c.all {
					if err := k.Add(all); err != nil {
						t.Fatal(err)
					}
					if restarts {
						k = gatewaymetrics.Restore(k.State(), began, began)
					}
				}
				got := k.Sum(gatewaymetrics.Update)
				if got.Requests != c.requests || got.Errors != c.failures || !reflect.DeepEqual(append([]int64(nil), got.Bins...), c.bins) {
					t.Errorf("restarts %t: %+v", restarts, got)
				}
			}
		})
	}
	k := gatewaymetrics.NewTracker(began, time.Time{})
	old := at("a", -time.Hour, 100, 3)
	old.Counts[gatewaymetrics.Stable] = old.Counts[gatewaymetrics.Update]
	if err := k.Add([]gatewaymetrics.Reading{old}); err != nil {
		t.Fatal(err)
	}
	if got := k.Sum(gatewaymetrics.Stable); got.Requests != 100 || k.Sum(gatewaymetrics.Update).Requests != 0 {
		t.Errorf("from ever: %+v", got)
	}
	if k.Again(began); k.Add([]gatewaymetrics.Reading{at("a", -time.Hour, 1000, 3)}) != nil || k.Sum(gatewaymetrics.Update).Requests != 0 {
		t.Errorf("a Service of another name counts: %+v", k.Sum(gatewaymetrics.Update))
	}
	if err := k.Add(make([]gatewaymetrics.Reading, 33)); err == nil || !strings.Contains(err.Error(), "let a Prometheus scrape them") {
		t.Errorf("too many instances: %v", err)
	}
}

// FuzzParse reads pages of anything. No sum is ever negative.
func FuzzParse(f *testing.F) {
	f.Add(open(f, "traefik.txt"), uint8(3))
	f.Add(open(f, "envoy.txt"), uint8(70))
	f.Add("traefik_service_requests_total 1e300\n", uint8(0))
	f.Fuzz(func(t *testing.T, text string, cut uint8) {
		k := gatewaymetrics.NewTracker(time.Unix(1, 0), time.Time{})
		for _, page := range []string{text, text[min(int(cut), len(text)):], text} {
			all, err := gatewaymetrics.Parse(strings.NewReader(page))
			if err != nil {
				continue
			}
			for _, kind := range []string{v1alpha1.MetricsTraefik, v1alpha1.MetricsEnvoy, v1alpha1.MetricsPrometheus} {
				r := gatewaymetrics.Reading{Name: kind}
				if r.Counts[gatewaymetrics.Update], err = gatewaymetrics.Of(kind, all, of("cardio-1a2b3c4d", 0)); err != nil {
					continue
				}
				r.Counts[gatewaymetrics.Stable] = r.Counts[gatewaymetrics.Update]
				if err := k.Add([]gatewaymetrics.Reading{r}); err != nil {
					t.Fatal(err)
				}
			}
			k = gatewaymetrics.Restore(k.State(), time.Unix(1, 0), time.Time{})
			for _, c := range []gatewaymetrics.Count{k.Sum(gatewaymetrics.Update), k.Sum(gatewaymetrics.Stable)} {
				if c.Requests < 0 || c.Errors < 0 || (len(c.Bins) > 0 && len(c.Bins) != len(c.Edges)+1) {
					t.Fatalf("%+v", c)
				}
			}
		}
	})
}
