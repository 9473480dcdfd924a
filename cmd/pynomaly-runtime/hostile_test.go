package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
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

// hostilePeak is how much memory the host may have at any time, measured from
// outside: it serves two models and reads files of up to 60 MB.
const hostilePeak = 512 << 20

// TestHostileHost drops one hostile module after the other into the directory of a
// real host. Each ends with its cause; other models, under load all the while, lose
// no request, and the host's memory stays within a bound. With -v it prints the table.
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
	fmt.Fprintln(w, "attack\tended after\tpeak\tcause")
	for k, a := range hostile.Attacks() {
		id := fmt.Sprintf("attack-%02d", k)
		limits := "timeout: 5m, load_timeout: 10m"
		if a.OrLate {
			limits = "timeout: 100ms, load_timeout: 1s"
		}
		forgetPeak(t, p.cmd.Process.Pid)
		writeHostile(t, dir, id, a.Module, limits)
		took, cause := attack(t, url, id)
		peak := peakMemory(t, p.cmd.Process.Pid)
		if peak > hostilePeak {
			t.Errorf("%s: the host takes %d MiB", a.Name, peak>>20)
		}
		named := (a.Want != "" && strings.Contains(cause, a.Want)) || (a.Scores && strings.Contains(cause, "not finite"))
		late := a.OrLate && strings.Contains(cause, "deadline") || a.Slow && strings.Contains(cause, "cannot be loaded for now")
		if !named && !late {
			t.Errorf("%s ended with %q, want %q, or late: %v", a.Name, cause, a.Want, a.OrLate)
		}
		fmt.Fprintf(w, "%s\t%d ms\t%d MiB\t%.110s\n", a.Name, took.Milliseconds(), peak>>20, strings.ReplaceAll(cause, "\n", "; "))
		if err := os.RemoveAll(filepath.Join(dir, id)); err != nil {
			t.Fatal(err)
		}
	}
	for k, l := range hostile.Leaks() {
		if l.Asks { // it is stateful without saying so, which the probe finds
			continue
		}
		id := fmt.Sprintf("leak-%02d", k)
		writeHostile(t, dir, id, l.Module, "timeout: 5m, load_timeout: 10m")
		leak(t, url, id, l)
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
	status := settled(t, url, id)
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

// settled waits until a model has loaded or failed.
func settled(t *testing.T, url, id string) (status api.ModelVersion) {
	t.Helper()
	testkit.Eventually(t, id+" is loaded or refused", func() bool {
		var m api.Model
		_ = json.Unmarshal([]byte(fetch(t, url+"/api/v1/models/"+id, "GET", "")), &m)
		return len(m.Versions) == 1 && slices.Contains([]string{"loaded", "failed"}, func() string { status = m.Versions[0]; return status.Status }()) &&
			!strings.Contains(status.Error, "being written")
	})
	return status
}

// leak asks as two callers, and looks for what the second is told of the first.
func leak(t *testing.T, url, id string, l hostile.Leak) {
	t.Helper()
	secret := math.Float64frombits(binary.LittleEndian.Uint64([]byte(hostile.Secret)))
	if status := settled(t, url, id); status.Status != "loaded" {
		t.Errorf("%s: %s", l.Name, status.Error)
		return
	}
	ask := func(x float64) (p api.Prediction, text string) {
		text = fetch(t, url+"/api/v1/predict", "POST", fmt.Sprintf(`{"model_id": %q, "data": [%g, 2]}`, id, x))
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		return p, text
	}
	ask(secret)
	second, text := ask(1)
	if strings.Contains(text, hostile.Secret) {
		t.Errorf("%s: the second caller is told %s", l.Name, text)
	}
	if second.ModelID != id || second.Score != 0 {
		t.Errorf("%s: the second caller is answered %s", l.Name, text)
	}
}

// forgetPeak lets the kernel begin anew with the peak of a process's memory.
func forgetPeak(t *testing.T, pid int) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
}

// peakMemory is the most memory that a process had.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kilobytes int64
	if _, err := fmt.Sscanf(rest, "%d kB", &kilobytes); err != nil {
		t.Fatalf("%v: %s", err, status)
	}
	return kilobytes << 10
}

func writeHostile(t *testing.T, dir, id string, module []byte, limits string) {
	t.Helper()
	text := "apiVersion: pynomaly.io/v1\nkind: Model\nid: " + id + "\nversion: 1.0.0\nbackend: wasm\nartifact: m.wasm\n" +
		"features: [{name: x, dtype: float64}, {name: \"y\", dtype: float64}]\nlimits: {" + limits + ", memory: 8MiB}\n"
	testkit.WriteModel(t, dir, id, map[string][]byte{"m.wasm": module, "model.yaml": []byte(text)})
}
