package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hostile"
)

// victim is a model that must be answered for whatever others do.
type victim struct {
	body            string
	sent, lost      atomic.Int64
	mu              sync.Mutex
	slowest         time.Duration
	firstOfTheFails string
}

func (v *victim) ask(client *http.Client, url string) {
	start := time.Now()
	resp, err := client.Post(url+"/api/v1/predict", "application/json", strings.NewReader(v.body))
	text := ""
	if err == nil {
		all, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		text = string(all)
	}
	took := time.Since(start)
	v.sent.Add(1)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.slowest = max(v.slowest, took)
	if err != nil || resp.StatusCode != http.StatusOK {
		v.lost.Add(1)
		if v.firstOfTheFails == "" {
			v.firstOfTheFails = fmt.Sprint(err, " ", text)
		}
	}
}

// TestHostileHost drops one hostile module after the other into the directory of a
// real host. Each ends with its cause; other models, under load all the while, lose
// no request. With -v it prints the table.
func TestHostileHost(t *testing.T) {
	dir := t.TempDir()
	testkit.CopyModel(t, dir, "pima-lof", "pima", "1.0.0", nil)
	testkit.CopyModel(t, dir, "ecod-c", "good", "1.0.0", nil)
	p := startCommand(t, realBinary(t), "serve", "--models", dir, "--port", "0", "--drain", "0s", "--request-timeout", "10m", "--state-dir", t.TempDir(), "--model-cache-size", "100")
	p.next(`"message":"serving"`)
	go p.drain()
	url := "http://" + p.address
	testkit.Eventually(t, "ready", func() bool {
		resp, err := http.Get(url + "/ready")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil && resp.StatusCode == http.StatusOK
	})
	victims := []*victim{
		{body: `{"model_id": "pima", "data": {"f0": 8, "f1": 155, "f2": 62, "f3": 26, "f4": 495, "f5": 34, "f6": 0.543, "f7": 46}}`},
		{body: `{"model_id": "good", "data": [8, 155, 62, 26, 495, 34, 0.543, 46]}`},
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, v := range victims {
		wg.Go(func() {
			client := &http.Client{Timeout: 10 * time.Minute} // only ends what hangs
			pace := time.NewTicker(5 * time.Millisecond)      // load, but not a contest for two processors
			defer pace.Stop()
			for {
				select {
				case <-stop:
					return
				case <-pace.C:
					v.ask(client, url)
				}
			}
		})
	}
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "attack\tended after\tcause")
	for k, a := range hostile.Attacks() {
		id := fmt.Sprintf("attack-%02d", k)
		limits := "timeout: 5m, load_timeout: 10m"
		if a.OrLate {
			limits = "timeout: 100ms, load_timeout: 1s"
		}
		writeHostile(t, dir, id, a.Module, limits)
		took, cause := attack(t, url, id)
		named := (a.Want != "" && strings.Contains(cause, a.Want)) || (a.Scores && strings.Contains(cause, "not finite"))
		late := a.OrLate && strings.Contains(cause, "deadline")
		if !named && !late {
			t.Errorf("%s ended with %q, want %q, or late: %v", a.Name, cause, a.Want, a.OrLate)
		}
		fmt.Fprintf(w, "%s\t%d ms\t%.110s\n", a.Name, took.Milliseconds(), strings.ReplaceAll(cause, "\n", "; "))
		if err := os.RemoveAll(filepath.Join(dir, id)); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	wg.Wait()
	_ = w.Flush()
	for i, v := range victims {
		fmt.Fprintf(&table, "other model %d: %d requests, %d lost, slowest %d ms\n", i+1, v.sent.Load(), v.lost.Load(), v.slowest.Milliseconds())
		if v.lost.Load() > 0 || v.sent.Load() == 0 {
			t.Errorf("%d of %d requests of another model were lost: %s", v.lost.Load(), v.sent.Load(), v.firstOfTheFails)
		}
	}
	t.Log("\n" + table.String())
	p.stop()
}

// attack waits until a model has failed, or has loaded and fails a request.
func attack(t *testing.T, url, id string) (time.Duration, string) {
	t.Helper()
	start := time.Now()
	var status api.ModelVersion
	testkit.Eventually(t, id+" is loaded or refused", func() bool {
		var m api.Model
		_ = json.Unmarshal([]byte(fetch(t, url+"/api/v1/models/"+id, "GET", "")), &m)
		return len(m.Versions) == 1 && slices.Contains([]string{"loaded", "failed"}, func() string { status = m.Versions[0]; return status.Status }()) &&
			!strings.Contains(status.Error, "being written")
	})
	if status.Status == "failed" {
		return time.Since(start), status.Error
	}
	start = time.Now()
	var p api.Problem
	text := fetch(t, url+"/api/v1/predict", "POST", `{"model_id": "`+id+`", "data": [1, 2]}`)
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return time.Since(start), p.Detail
}

func writeHostile(t *testing.T, dir, id string, module []byte, limits string) {
	t.Helper()
	text := "apiVersion: pynomaly.io/v1\nkind: Model\nid: " + id + "\nversion: 1.0.0\nbackend: wasm\nartifact: m.wasm\n" +
		"features: [{name: x, dtype: float64}, {name: \"y\", dtype: float64}]\nlimits: {" + limits + ", memory: 8MiB}\n"
	testkit.WriteModel(t, dir, id, map[string][]byte{"m.wasm": module, "model.yaml": []byte(text)})
}
