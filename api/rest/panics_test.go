package rest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// torn panics in the host's process at rows below -100.
type torn struct{ modeltest.Sums }

func (s torn) Score(ctx context.Context, in *sdk.Batch, out []float64) error {
	for _, v := range in.Float64s() {
		if v < -100 {
			panic("at such a value")
		}
	}
	return s.Sums.Score(ctx, in, out)
}

// TestPanicsUnderLoad has 16 clients use a detector that panics in the host's
// process. A panic ends only its own calls, with an error. Good rows of its model
// and of another one, single and in batches, are all answered.
func TestPanicsUnderLoad(t *testing.T) {
	dir := t.TempDir()
	for _, id := range []string{"good", "torn"} {
		testkit.WriteModel(t, dir, id, map[string][]byte{"a": []byte(id), manifest.FileName: []byte(testkit.Patient(modeltest.Simple(id, "1.0.0")))})
	}
	fake := &modeltest.Fake{Make: func(m *manifest.Manifest) sdk.Scorer {
		if m.ID == "torn" {
			return torn{}
		}
		return modeltest.Sums{}
	}}
	h := testkit.Serve(t, testkit.Options{Dir: dir, Backends: model.Backends{manifest.BackendONNX: fake}})
	ask := func(path, id, data string) (int, string) {
		resp, err := http.Post(h.URL+path, "application/json", strings.NewReader(`{"model_id":"`+id+`","data":`+data+`}`))
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			return 0, err.Error()
		}
		return resp.StatusCode, string(text)
	}
	var clients sync.WaitGroup
	for i := range 16 {
		clients.Go(func() {
			for n := range 50 {
				value := i*1000 + n
				switch i % 4 {
				case 0: // the call has only this row
					status, text := ask("/api/v1/predict", "torn", `[-101]`)
					var p api.Problem
					if err := json.Unmarshal([]byte(text), &p); err != nil || status != http.StatusInternalServerError || p.ErrorType != api.ScoringError || !strings.Contains(p.Detail, "panicked") {
						t.Errorf("a row at which it panics: %d %s", status, text)
					}
				case 1:
					status, text := ask("/api/v1/predict/batch", "torn", fmt.Sprintf(`[[%d],[-101],[7]]`, value))
					var b api.BatchResponse
					if err := json.Unmarshal([]byte(text), &b); err != nil || status != http.StatusOK || b.TotalFailed != 1 || b.Predictions[0].Score != float64(value) || b.Predictions[1].Error == nil || b.Predictions[2].Score != 7 {
						t.Errorf("one row of three: %d %s", status, text)
					}
				default:
					id := []string{"good", "torn"}[i%2]
					status, text := ask("/api/v1/predict", id, fmt.Sprintf("[%d]", value))
					var p api.Prediction
					if err := json.Unmarshal([]byte(text), &p); err != nil || status != http.StatusOK || p.Score != float64(value) {
						t.Errorf("a good row of %s: %d %s", id, status, text)
					}
				}
			}
		})
	}
	clients.Wait()
	if all, err := h.Registry.List("torn"); err != nil || all[0].Facts.Stats.Snapshot().Panics == 0 {
		t.Errorf("no panic was counted: %v", err)
	}
}
