package faults

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

const distanceModel = `apiVersion: pynomaly.io/v1
kind: Model
id: traps
version: 1.0.0
backend: wasm
artifact: detector.wasm
config: {centre: [3, 4]}
features: [{name: x, dtype: float64}, {name: "y", dtype: float64}]
golden: {rows: golden.ndjson}
limits: {timeout: 5m, load_timeout: 10m}
`

// detectorPanics checks that a panic of a detector ends only its own calls.
func detectorPanics(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	testkit.WriteFaulty(t, p.Models, "panics", `"concurrency":4`, "")
	testkit.WriteModel(t, p.Models, "traps", map[string][]byte{
		"model.yaml": []byte(distanceModel), "detector.wasm": testkit.Guest(t, "distance"), "golden.ndjson": []byte(`{"data": {"x": 0, "y": 0}, "score": 5}` + "\n"),
	})
	h := start(t, p, options{Plugins: true}).ready()
	for _, id := range []string{"good", "graph", "panics", "traps"} {
		h.Serves(id)
	}
	before := len(h.processes("panics"))
	ended := make(chan struct{})
	var bad atomic.Int64
	var clients sync.WaitGroup
	for i := range 8 {
		id, value, says := "panics", -1006.0, "the detector panicked: at a row"
		if i%2 == 1 {
			id, value, says = "traps", -2000, "pynomaly_score"
		}
		clients.Go(func() {
			c := h.Client()
			for n := 0; ; n++ {
				select {
				case <-ended:
					if n > 0 {
						return
					}
				default:
				}
				_, err := c.Predict(t.Context(), &api.PredictRequest{ModelID: id, Data: []float64{value, 0}})
				var problem *api.Problem
				if !errors.As(err, &problem) || problem.ErrorType != api.ScoringError || !strings.Contains(problem.Detail, says) {
					t.Errorf("a row at which %s panics: %v; want a ScoringError that says %q", id, err, says)
					return
				}
				bad.Add(1)
			}
		})
	}
	bodies := []string{goodBody, graphBody}
	lost := hosttest.Burst(h.URL, 16, pick(2000, 20000), func(i int) string { return bodies[i%2] })
	close(ended)
	clients.Wait()
	lost.None(t)
	if bad.Load() == 0 {
		t.Error("nothing panicked")
	}
	for _, id := range []string{"panics", "traps"} { // they still score other rows
		if failure := hosttest.Ask(hosttest.KeepAlive(), h.URL, fmt.Sprintf(`{"model_id": %q, "data": [3, 5]}`, id)); failure != "" {
			t.Errorf("%s does not score other rows: %s", id, failure)
		}
	}
	if now := len(h.processes("panics")); now != before {
		t.Errorf("the plugin has %d processes, it had %d", now, before)
	}
	r.note("%v, beside %d panics", lost, bad.Load())
	h.Stop(hangs)
}
