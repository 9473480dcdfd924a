package process_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime"
)

// TestSick: a process that fails at every row is started again; rows that it cannot
// take do not end one that is well.
func TestSick(t *testing.T) {
	for name, c := range map[string]struct {
		settings string
		row      float64
		want     string
	}{
		// With one call at a time each waits for what comes of the ones before.
		"it panics":                  {`"concurrency":1`, -1009, "it is sick"},
		"it has no descriptors left": {`"concurrency":1,"fault":"files"`, -1008, "too many open files"},
	} {
		t.Run(name, func(t *testing.T) {
			a := artifact(t, c.settings, xy)
			log, logs := logger()
			s := open(t, backend(t, a, logs), a)
			if got, err := score(t, s, 1, 2); err != nil || got[0] != 3 {
				t.Fatalf("%v, %v", got, err)
			}
			before := processes(t)
			for range 12 { // poison, not sickness
				var fault *backends.FaultError
				if _, err := score(t, s, -1006, 0); !errors.As(err, &fault) || !strings.Contains(err.Error(), "the detector panicked: at a row") {
					t.Fatalf("%v", err)
				}
			}
			if _, err := score(t, s, c.row, 0); err != nil {
				t.Fatal(err)
			}
			if now := processes(t); len(now) != 1 || now[0] != before[0] {
				t.Errorf("processes %v, then %v", before, now)
			}
			var fault *backends.FaultError
			if _, err := score(t, s, 1, 2); !errors.As(err, &fault) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			testkit.Eventually(t, "another process serves", func() bool { got, err := score(t, s, 1, 2); return err == nil && got[0] == 3 })
			if now := processes(t); len(now) != 1 || now[0] == before[0] {
				t.Errorf("processes %v, then %v", before, now)
			}
			testkit.Eventually(t, "the log says why", func() bool {
				return strings.Contains(log.String(), "5 calls in a row failed, the last with: ") && strings.Contains(log.String(), c.want)
			})
		})
	}
}

// TestSickFromTheStart: where no row was ever scored there is no way to tell, and a
// process that fails is started again; so is a stateful one.
func TestSickFromTheStart(t *testing.T) {
	for _, settings := range []string{"", `"stateful":true`} {
		a := artifact(t, settings, xy)
		log, logs := logger()
		s := open(t, backend(t, a, logs), a)
		for range 5 {
			var fault *backends.FaultError
			if _, err := score(t, s, -1006, 0); !errors.As(err, &fault) {
				t.Errorf("%v", err)
			}
		}
		testkit.Eventually(t, "it is ended", func() bool { return strings.Contains(log.String(), "5 calls in a row failed") })
		testkit.Eventually(t, "another serves", func() bool { _, err := score(t, s, 1, 2); return err == nil })
	}
}

// TestSickServed: what a client is told while a plugin is sick is a scoring error, which
// counts as such, and not that the row is at fault.
func TestSickServed(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, "m", "1.0.0")
	if err := os.MkdirAll(at, 0o750); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"plugin":     testkit.Program(t, plain),
		"model.yaml": []byte("apiVersion: pynomaly.io/v1\nkind: Model\nid: m\nversion: 1.0.0\nbackend: process\nartifact: plugin\n" + xy),
	} {
		if err := os.WriteFile(filepath.Join(at, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := testkit.Serve(t, testkit.Options{Dir: dir, Backends: runtime.Backends{manifest.BackendProcess: testkit.Processes(t, dir, nil)}})
	ask := func(path, body string) (int, string) {
		t.Helper()
		resp, err := http.Post(h.URL+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	const one, many = "/api/v1/predict", "/api/v1/predict/batch"
	for _, c := range []struct {
		path, body string
		status     int
		want       string
	}{
		{one, `{"data":[1,2]}`, 200, `"score":3`},
		{one, `{"data":[-1006,0]}`, 500, `"error_type":"ScoringError"`},
		{many, `{"data":[[1,2],[-1006,0],[3,4]]}`, 200, `"total_failed":1`},
		{many, `{"data":[[-1006,0],[-1006,0]]}`, 500, `"error_type":"ScoringError"`},
		{one, `{"data":[-1009,0]}`, 200, `"score":`},
		{one, `{"data":[1,2]}`, 500, "the detector panicked: it is sick"},
	} {
		if status, text := ask(c.path, c.body); status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d %s, want %d with %s", c.body, status, text, c.status, c.want)
		}
	}
	testkit.Eventually(t, "it serves again", func() bool { status, _ := ask(one, `{"data":[1,2]}`); return status == 200 })
	if _, text := ask(one, `{"data":[1]}`); !strings.Contains(text, `"error_type":"RowError"`) {
		t.Errorf("a row that is at fault: %s", text)
	}
	resp, err := http.Get(h.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	metrics, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(metrics), `model_errors_total{error_type="ScoringError",model_id="m",version="1.0.0"}`) {
		t.Errorf("%s, %v", metrics, err)
	}
}
