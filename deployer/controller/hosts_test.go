package controller_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/api/client"
	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/deployer/controller"
	"github.com/pynomaly/pynomaly-runtime/deployer/hostkeys"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// fixed are keys by namespace.
type fixed map[string][]string

func (f fixed) Keys(_ context.Context, namespace string) ([]string, error) {
	if all := f[namespace]; len(all) > 0 {
		return all, nil
	}
	return nil, hostkeys.ErrNoKey
}

// patient returns the client for requests to hosts, with a time limit that ends only what
// hangs.
func patient() *http.Client {
	c := controller.HostClient()
	c.Timeout = 10 * time.Minute
	return c
}

func TestMain(m *testing.M) { testkit.Main(m) }

// TestHosts checks the controller's client against a real host.
func TestHosts(t *testing.T) {
	dir := t.TempDir()
	testkit.CopyModel(t, dir, "pima-lof", "pima", "1.0.0", nil)
	gate, keys := testkit.Gate(t, access.RoleController, access.RoleViewer)
	h := testkit.Serve(t, testkit.Options{Dir: dir, REST: func(c *rest.Config) { c.Samples, c.Gate = 10, gate }})
	address := controller.Host{Address: strings.TrimPrefix(h.URL, "http://"), Namespace: ns}
	ctx := context.Background()
	hosts := &controller.Hosts{Client: patient(), Keys: fixed{ns: keys[:1], "other": keys[1:]}}
	c, err := client.New(client.Config{URL: h.URL, Key: keys[1]})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Predict(ctx, &api.PredictRequest{ModelID: "pima", Data: []float64{8, 155, 62, 26, 495, 34, 0.543, 46}}); err != nil {
		t.Fatal(err)
	}
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
	samples, err := hosts.Samples(ctx, address, "pima", "1.0.0", 0, 10)
	if err != nil || len(samples.Rows) != 1 {
		t.Fatalf("%+v, %v", samples, err)
	}
	replayed, err := hosts.Replay(ctx, address, "pima", "1.0.0", samples.Rows)
	if err != nil || len(replayed.Scores) != 1 || *replayed.Scores[0] != samples.Rows[0].Score {
		t.Errorf("%+v, %v", replayed, err)
	}
	for name, ask := range map[string]func() error{
		"no such model":   func() error { _, err := hosts.Stats(ctx, address, "none", "1.0.0"); return err },
		"no such version": func() error { _, err := hosts.Digest(ctx, address, "pima", "2.0.0"); return err },
		"a viewer": func() error {
			_, err := hosts.Samples(ctx, controller.Host{Address: address.Address, Namespace: "other"}, "pima", "1.0.0", 0, 10)
			return err
		},
		"no key": func() error {
			_, err := hosts.Stats(ctx, controller.Host{Address: address.Address, Namespace: "third"}, "pima", "1.0.0")
			return err
		},
		"no rows": func() error {
			_, err := hosts.Replay(ctx, address, "pima", "1.0.0", []api.Sample{})
			return err
		},
		"nobody answers": func() error {
			_, err := hosts.Stats(ctx, controller.Host{Address: "127.0.0.1:1", Namespace: ns}, "pima", "1.0.0")
			return err
		},
		"nobody waits": func() error { _, err := hosts.Waits(ctx, controller.Host{Address: "127.0.0.1:1"}); return err },
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
		hosts := &controller.Hosts{Client: patient(), Keys: fixed{"": {ownKey}}}
		_, err := hosts.Replay(t.Context(), controller.Host{Address: strings.TrimPrefix(s.URL, "http://")}, "pima", "1.0.0", []api.Sample{{}})
		if err == nil || strings.Contains(err.Error(), "it does not accept replayed rows") != want {
			t.Errorf("%q: %v", kind, err)
		}
		s.Close()
	}
}

// TestKeysBeingReplaced checks that hosts are asked with whichever key they know, that a
// host is not asked again with one that it refuses, and that an answer other than 401
// ends the search.
func TestKeysBeingReplaced(t *testing.T) {
	known := map[string]bool{"old": true}
	var shown []string
	var status int
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		shown = append(shown, key)
		kind := api.Unauthorized
		if status != 0 {
			kind = api.Overloaded
		} else if known[key] {
			_ = json.NewEncoder(w).Encode(api.Stats{ModelID: "m", Version: "1.0.0"})
			return
		}
		p := api.NewProblem(kind, "", "no")
		w.Header().Set("Content-Type", api.ProblemContentType)
		w.WriteHeader(p.Status)
		_ = json.NewEncoder(w).Encode(p)
	}))
	defer s.Close()
	keys := fixed{ns: {"old"}}
	hosts := &controller.Hosts{Client: patient(), Keys: keys}
	at := controller.Host{Address: strings.TrimPrefix(s.URL, "http://"), Namespace: ns}
	ask := func(want string, ok bool) {
		t.Helper()
		shown = nil
		_, err := hosts.Stats(t.Context(), at, "m", "1.0.0")
		if got := strings.Join(shown, " "); got != want || (err == nil) != ok {
			t.Errorf("it was shown %q, want %q: %v", got, want, err)
		}
	}
	ask("old", true)
	keys[ns] = []string{"new", "old"}
	ask("old", true) // which it has accepted before
	known["new"], known["old"] = true, false
	ask("old new", true)
	ask("new", true)
	keys[ns] = []string{"newer", "new", "old"}
	ask("new", true)
	known["new"] = false
	ask("new newer old", false)
	status = 1
	ask("new", false)
}
