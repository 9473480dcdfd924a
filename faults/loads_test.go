package faults

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

func loadScenarios() []scenario {
	return []scenario{
		{
			id: "many-models", does: "a start with many small models (30)",
			must: "all are loaded; no more of them at once than there are processors", run: func(t *testing.T, r *row) { manyModels(t, r, 30, limits{}, small()) },
		},
		{
			id: "many-models-1gib", does: "200 small models in 1 GiB (short form: 60)", root: true,
			must: "all are loaded, the host is never killed", run: func(t *testing.T, r *row) { manyModels(t, r, pick(60, 200), limits{memory: 1 << 30}, small()) },
		},
		{
			id: "many-models-400mib", does: "30 small models in 400 MiB", root: true,
			must: "all are loaded, the host is never killed", run: func(t *testing.T, r *row) { manyModels(t, r, 30, limits{memory: 400 << 20}, small()) },
		},
		{
			id: "many-models-pids", does: "100 small models with 256 processes and threads (short form: 30 with 128)", root: true,
			must: "all are loaded", run: func(t *testing.T, r *row) { manyModels(t, r, pick(30, 100), limits{pids: pick(128, 256)}, small()) },
		},
		{
			id: "slow-machine", does: "four models of both kinds with 0.15 processors (short form: 1)", root: true,
			must: "all are loaded", run: func(t *testing.T, r *row) {
				manyModels(t, r, 4, limits{cpuPercent: pick(100, 15)}, []string{"ecod-c", "ecod-rust", "cardio-iforest", "pima-lof"})
			},
		},
		{
			id: "explanations", does: "explanations, stateful and batch-dependent models from 16 to 64 connections",
			must: "the host lives, all are answered", run: explanations,
		},
	}
}

// small returns the names of sample models that load fast.
func small() []string {
	return []string{"mammography-gmm", "thyroid-autoencoder", "thyroid-ocsvm", "ecod-c"}
}

// manyModels starts a host with n models, copies of samples, and waits until all are
// loaded.
func manyModels(t *testing.T, r *row, n int, l limits, names []string) {
	p := hosttest.NewPlace(t)
	for i := range n {
		id := fmt.Sprintf("m%03d", i)
		distinct(t, testkit.CopyModel(t, p.Models, names[i%len(names)], id, "1.0.0", nil), i)
	}
	var g *group
	if l != (limits{}) {
		g = newGroup(t, l)
	}
	begin := time.Now()
	h := start(t, p, options{Groups: g.directories(), Cold: l.cpuPercent > 0})
	children, memory := 0, int64(0)
	last, not := 0, []string(nil)
	t.Cleanup(func() {
		if last < n {
			t.Logf("%d loaded, %s", last, strings.Join(not[:min(5, len(not))], "; "))
		}
	})
	h.Eventually("all models are loaded", func() bool {
		c, m := childrenOf(h.Cmd.Process.Pid)
		children, memory = max(children, c), max(memory, m)
		last, not = h.Loaded()
		return last == n
	})
	r.note("%d loaded after %s; at most %d helper processes at once with %s", n, hosttest.MS(time.Since(begin)), children, hosttest.MB(memory))
	if g != nil && g.memory != "" {
		r.note("%s in all at most, %d helpers killed for memory", hosttest.MB(g.peak(t)), g.killed(t))
	}
	h.ready()
	// A process that has ended counts until it has been waited for.
	if most := 2*runtime.NumCPU() + 2; children > most {
		t.Errorf("%d helper processes at once on %d processors", children, runtime.NumCPU())
	}
	h.Stop(hangs)
}

var digestLine = regexp.MustCompile(`(?m)^digest: .*$`)

// distinct changes a copied ONNX graph so that it differs from all others and needs
// its own proof.
func distinct(t *testing.T, dir string, n int) {
	t.Helper()
	file := filepath.Join(dir, "model.onnx")
	data, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return // it is not a graph
	}
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("graph %03d", n)
	// An entry of a ModelProto's metadata_props, a repeated field.
	const metadata, key, value = 14<<3 | 2, 1<<3 | 2, 2<<3 | 2
	entry := append([]byte{key, 1, 'n', value, byte(len(text))}, text...)
	data = append(append(data, metadata, byte(len(entry))), entry...)
	manifest := filepath.Join(dir, "model.yaml")
	changed := digestLine.ReplaceAllString(readFile(t, manifest), fmt.Sprintf("digest: sha256:%x", sha256.Sum256(data)))
	if err := errors.Join(os.WriteFile(file, data, 0o600), os.WriteFile(manifest, []byte(changed), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// childrenOf returns the number of a process's children and their resident memory.
func childrenOf(pid int) (n int, memory int64) {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// pid (name) state parent ...
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		const parent, resident = 1, 21
		if len(fields) <= resident || fields[parent] != strconv.Itoa(pid) {
			continue
		}
		pages, _ := strconv.ParseInt(fields[resident], 10, 64)
		n, memory = n+1, memory+pages*int64(os.Getpagesize())
	}
	return n, memory
}

func explanations(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	dependent := func(text string) string { return text + "batch_dependent: true\n" }
	testkit.CopyModel(t, p.Models, "thyroid-autoencoder", "dependent", "1.0.0", dependent)
	testkit.WriteFaulty(t, p.Models, "stateful", `"stateful":true`, "stateful: true\nlearning: online\n")
	h := start(t, p, options{Plugins: true, Args: []string{"--log-level", "warn"}}).ready()
	bodies := []string{
		strings.Replace(goodBody, "{", `{"return_explanation": true, `, 1), strings.Replace(graphBody, "{", `{"return_explanation": true, `, 1),
		`{"model_id": "dependent", "data": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "return_explanation": true}`, `{"model_id": "stateful", "data": [1, 2]}`, goodBody,
	}
	for _, body := range bodies {
		if status, text := h.Send("POST", "/api/v1/predict", body); status != 200 {
			t.Fatalf("%s: %d %s", body, status, text)
		}
	}
	for _, clients := range []int{16, 32, 64} {
		out := hosttest.Burst(h.URL, clients, pick(3000, 20000), func(i int) string { return bodies[i%len(bodies)] })
		out.None(t)
		h.MustLive()
		r.note("%d connections: %v", clients, out)
	}
	h.Stop(hangs)
}
