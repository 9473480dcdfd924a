package rest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/table"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/runtime/offline"
)

// sampleModel is a model of testdata, rows of it, and the answer to each row alone.
type sampleModel struct {
	id    string
	rows  []any
	alone []api.Prediction
}

// sampleModels reads the golden rows of all sample models, and the rows of their
// cases if there are any.
func sampleModels(t *testing.T) []*sampleModel {
	t.Helper()
	cases := map[string]*testkit.Case{}
	for _, c := range testkit.Cases(t) {
		cases[c.Name] = c
	}
	files, err := filepath.Glob(testkit.Testdata("models", "*", "1.0.0", "golden.ndjson"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no sample models: %v", err)
	}
	var all []*sampleModel
	for _, file := range files {
		m := &sampleModel{id: filepath.Base(filepath.Dir(filepath.Dir(file)))}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			var row struct{ Data any }
			if err := json.Unmarshal(line, &row); err != nil {
				t.Fatal(err)
			}
			m.rows = append(m.rows, row.Data)
		}
		if c := cases[m.id]; c != nil {
			for _, row := range c.Rows {
				m.rows = append(m.rows, row)
			}
		}
		all = append(all, m)
	}
	return all
}

// sameAnswer compares an answer with that of the row alone, bit for bit, because the
// numbers in JSON read back exactly.
func sameAnswer(t *testing.T, how string, m *sampleModel, i int, got api.Prediction) {
	t.Helper()
	want := m.alone[i]
	if got.Error != nil || got.Score != want.Score || got.Prediction != want.Prediction ||
		!reflect.DeepEqual(got.IsAnomaly, want.IsAnomaly) || !reflect.DeepEqual(got.Confidence, want.Confidence) {
		t.Errorf("%s: row %d %s is answered %+v, alone %+v", m.id, i, how, got, want)
	}
}

// TestSameAnswer checks that a row gets the same answer, bit for bit, alone, beside
// the requests of 32 clients, in batches of any size, with an explanation, replayed
// and offline.
func TestSameAnswer(t *testing.T) {
	turns := 40
	if os.Getenv("PYNOMALY_TEST_FULL") != "" {
		turns = 2000
	}
	dir := t.TempDir()
	models := sampleModels(t)
	for _, m := range models {
		testkit.CopyModel(t, dir, m.id, m.id, "1.0.0", nil)
	}
	h := testkit.Serve(t, testkit.Options{Dir: dir})
	predict := h.URL + "/api/v1/predict"
	for _, m := range models {
		m.alone = make([]api.Prediction, len(m.rows))
		for i, row := range m.rows {
			post(t, predict, map[string]any{"model_id": m.id, "data": row}, 200, &m.alone[i])
		}
		checkOffline(t, h, m)
	}
	at := slices.IndexFunc(models, func(m *sampleModel) bool { return m.id == "thyroid-ocsvm" })
	const clients = 32
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(client)))
			for range turns {
				m := models[rng.IntN(len(models))]
				if rng.IntN(2) == 0 { // whose single rows are scored otherwise by ONNX Runtime
					m = models[at]
				}
				askAs(t, h, m, rng)
			}
		})
	}
	wg.Wait()
}

// askAs makes a request of a random kind.
func askAs(t *testing.T, h *testkit.Host, m *sampleModel, rng *rand.Rand) {
	predict := h.URL + "/api/v1/predict"
	switch kind := rng.IntN(20); {
	case kind < 12:
		i := rng.IntN(len(m.rows))
		var got api.Prediction
		post(t, predict, map[string]any{"model_id": m.id, "data": m.rows[i]}, 200, &got)
		sameAnswer(t, "beside others", m, i, got)
	case kind == 12:
		i := rng.IntN(len(m.rows))
		var got api.Prediction
		post(t, predict, map[string]any{"model_id": m.id, "data": m.rows[i], "return_explanation": true}, 200, &got)
		sameAnswer(t, "with an explanation", m, i, got)
		if got.Explanation.Score != m.alone[i].Score {
			t.Errorf("%s: row %d is explained for a score of %v, alone %v", m.id, i, got.Explanation.Score, m.alone[i].Score)
		}
	default:
		var chosen []int
		var rows []any
		for range 1 + rng.IntN(40) {
			i := rng.IntN(len(m.rows))
			chosen, rows = append(chosen, i), append(rows, m.rows[i])
		}
		var got api.BatchResponse
		post(t, predict+"/batch", map[string]any{"model_id": m.id, "data": rows, "batch_size": 1 + rng.IntN(50)}, 200, &got)
		for k, i := range chosen {
			sameAnswer(t, "in a batch", m, i, got.Predictions[k])
		}
	}
}

// checkOffline compares replayed rows and the rows of a table.
func checkOffline(t *testing.T, h *testkit.Host, m *sampleModel) {
	t.Helper()
	lease, err := h.Registry.Acquire(t.Context(), m.id, "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	var in, out bytes.Buffer
	for _, row := range m.rows {
		line, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(line, '\n'))
	}
	data := in.Bytes()
	local := offline.NewLocal(lease.Model())
	defer local.Release()
	tab, err := table.Open(table.NDJSON, bytes.NewReader(data), &out, lease.Model().Schema(), table.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, failed, err := offline.Score(t.Context(), local, tab, 7); err != nil || failed > 0 {
		t.Fatal(failed, err)
	}
	i := 0
	for line := range bytes.Lines(out.Bytes()) {
		var got struct{ Prediction, Score float64 }
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatal(err)
		}
		if got.Score != m.alone[i].Score || got.Prediction != m.alone[i].Prediction {
			t.Errorf("%s: row %d is answered %v offline, alone %v", m.id, i, got.Score, m.alone[i].Score)
		}
		i++
	}
	decoder := lease.Model().Decoder()
	tab, err = table.Open(table.NDJSON, bytes.NewReader(data), io.Discard, lease.Model().Schema(), table.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tab.Read(decoder, len(m.rows)); err != nil {
		t.Fatal(err)
	}
	scores := make([]float64, len(m.rows))
	if bad, err := lease.Model().Predict(t.Context(), decoder.Batch(), 0, scores); err != nil || bad != nil {
		t.Fatal(bad, err)
	}
	for i, v := range scores {
		if v != m.alone[i].Score {
			t.Errorf("%s: row %d scores %v replayed, alone %v", m.id, i, v, m.alone[i].Score)
		}
	}
}
