package controller_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/deployer/controller"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// TestHosts checks the controller's client against a real host.
func TestHosts(t *testing.T) {
	dir := t.TempDir()
	testkit.CopyModel(t, dir, "pima-lof", "pima", "1.0.0", nil)
	h := testkit.Serve(t, testkit.Options{Dir: dir, REST: func(c *rest.Config) { c.Samples, c.SamplesToken = 10, "secret" }})
	address := strings.TrimPrefix(h.URL, "http://")
	ctx := context.Background()
	hosts := controller.Hosts{Client: controller.HostClient()}
	body := `{"model_id":"pima","data":[8,155,62,26,495,34,0.543,46]}`
	resp, err := http.Post(h.URL+"/api/v1/predict", "application/json", strings.NewReader(body))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", resp, err)
	}
	_ = resp.Body.Close()
	stats, err := hosts.Stats(ctx, address, "pima", "1.0.0")
	if err != nil || stats.Requests != 1 || stats.Rows != 1 {
		t.Errorf("%+v, %v", stats, err)
	}
	if d, err := hosts.Digest(ctx, address, "pima", "1.0.0"); err != nil || !strings.HasPrefix(d, "sha256:") {
		t.Errorf("%q, %v", d, err)
	}
	if why, err := hosts.Waits(ctx, address); err != nil || why != "" {
		t.Errorf("%q, %v", why, err)
	}
	samples, err := hosts.Samples(ctx, address, "pima", "1.0.0", "secret", 0, 10)
	if err != nil || len(samples.Rows) != 1 {
		t.Fatalf("%+v, %v", samples, err)
	}
	replayed, err := hosts.Replay(ctx, address, "pima", "1.0.0", "secret", samples.Rows)
	if err != nil || len(replayed.Scores) != 1 || *replayed.Scores[0] != samples.Rows[0].Score {
		t.Errorf("%+v, %v", replayed, err)
	}
	for name, ask := range map[string]func() error{
		"no such model":   func() error { _, err := hosts.Stats(ctx, address, "none", "1.0.0"); return err },
		"no such version": func() error { _, err := hosts.Digest(ctx, address, "pima", "2.0.0"); return err },
		"the wrong token": func() error { _, err := hosts.Samples(ctx, address, "pima", "1.0.0", "other", 0, 10); return err },
		"no rows": func() error {
			_, err := hosts.Replay(ctx, address, "pima", "1.0.0", "secret", []api.Sample{})
			return err
		},
		"nobody answers": func() error { _, err := hosts.Stats(ctx, "127.0.0.1:1", "pima", "1.0.0"); return err },
		"nobody waits":   func() error { _, err := hosts.Waits(ctx, "127.0.0.1:1"); return err },
	} {
		if ask() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestOtherConflicts checks that a host that refuses replayed rows for another
// reason leaves the comparison open, so that no gate passes.
func TestOtherConflicts(t *testing.T) {
	for kind, want := range map[api.ErrorType]bool{api.NotReplayed: true, api.Conflict: false, "": false} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusConflict)
			if kind != "" {
				_ = json.NewEncoder(w).Encode(api.NewProblem(kind, "", "because"))
			}
		}))
		hosts := controller.Hosts{Client: controller.HostClient()}
		_, err := hosts.Replay(t.Context(), strings.TrimPrefix(s.URL, "http://"), "pima", "1.0.0", "secret", []api.Sample{{}})
		if err == nil || strings.Contains(err.Error(), "it does not accept replayed rows") != want {
			t.Errorf("%q: %v", kind, err)
		}
		s.Close()
	}
}
