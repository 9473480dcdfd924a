package rest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/internal/jsonscan"
	"github.com/pynomaly/pynomaly-runtime/internal/table"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/offline"
	"github.com/pynomaly/pynomaly-runtime/runtime/predict"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// moody returns a row's only feature as its score, except for some values.
type moody struct{ modeltest.Sums }

const (
	refused = -11.0
	noScore = -12.0
	panics  = -13.0
)

func (moody) Score(_ context.Context, in *sdk.Batch, out []float64) error {
	var failed []sdk.RowError
	for i, v := range in.Float64s() {
		switch v {
		case refused:
			failed = append(failed, sdk.RowError{Row: i, Reason: "is refused"})
		case noScore:
			out[i] = math.NaN()
			continue
		case panics:
			panic("unlucky")
		}
		out[i] = v
	}
	if failed != nil {
		return &sdk.RowErrors{Rows: failed}
	}
	return nil
}

// serveMoody serves versions of a model with a moody detector.
func serveMoody(t *testing.T, change func(*rest.Config), versions ...string) *testkit.Host {
	t.Helper()
	dir := t.TempDir()
	for _, v := range versions {
		modeltest.WriteModel(t, dir, "m", v, modeltest.Simple("m", v)+"explanation: {method: occlusion, reference: {x: 0.25}}\n")
	}
	with := model.Backends{manifest.BackendONNX: modeltest.Bare{Make: func(*manifest.Manifest) sdk.Scorer { return moody{} }}}
	return testkit.Serve(t, testkit.Options{Dir: dir, Backends: with, REST: change})
}

func statsOf(t *testing.T, h *testkit.Host, query string) api.Stats {
	t.Helper()
	resp, body := do(t, h, sent{method: "GET", path: "/api/v1/models/m/stats" + query})
	var s api.Stats
	if err := json.Unmarshal(body, &s); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%d, %v: %s", resp.StatusCode, err, body)
	}
	return s
}

// TestCountedOnce checks that the same rows count the same, by their outcomes,
// whichever way they come.
func TestCountedOnce(t *testing.T) {
	// Five good rows, two of them anomalies, and six that fail.
	rows := []string{"0.5", "2", fmt.Sprint(refused), "0.25", `"no"`, "3", fmt.Sprint(noScore), fmt.Sprint(panics), "null", "0.75", fmt.Sprint(refused)}
	each := func(send func(row string)) {
		for _, row := range rows {
			send(row)
		}
	}
	all := "[[" + strings.Join(rows, "],[") + "]]"
	type door struct {
		name string
		send func(t *testing.T, h *testkit.Host)
		none bool // it counts nothing
	}
	post := func(path, body string) func(*testing.T, *testkit.Host) {
		return func(t *testing.T, h *testkit.Host) {
			if resp, body := do(t, h, sent{path: path, body: body}); resp.StatusCode != http.StatusOK {
				t.Errorf("%d: %s", resp.StatusCode, body)
			}
		}
	}
	single := func(more string) func(*testing.T, *testkit.Host) {
		return func(t *testing.T, h *testkit.Host) {
			each(func(row string) { do(t, h, sent{path: "/api/v1/predict", body: `{"data":[` + row + `]` + more + `}`}) })
		}
	}
	file := func(format, text string) func(*testing.T, *testkit.Host) {
		return func(t *testing.T, h *testkit.Host) {
			lease, err := h.Registry.Acquire(t.Context(), "m", "", "")
			if err != nil {
				t.Fatal(err)
			}
			defer lease.Release()
			rows, err := table.Open(format, strings.NewReader(text), io.Discard, lease.Model().Schema(), table.Options{})
			if err != nil {
				t.Fatal(err)
			}
			local := offline.NewLocal(lease.Model())
			defer local.Release()
			if total, failed, err := offline.Score(t.Context(), local, rows, 4); total != 11 || failed != 6 || err != nil {
				t.Errorf("%d rows, %d failed, %v", total, failed, err)
			}
		}
	}
	for _, d := range []door{
		{name: "single", send: single("")},
		{name: "single, by name", send: func(t *testing.T, h *testkit.Host) {
			each(func(row string) { do(t, h, sent{path: "/api/v1/predict", body: `{"data":{"x":` + row + `}}`}) })
		}},
		{name: "explained", send: single(`,"return_explanation":true`)},
		{name: "batch", send: post("/api/v1/predict/batch", `{"data":`+all+`}`)},
		{name: "batch in pieces", send: post("/api/v1/predict/batch", `{"data":`+all+`,"batch_size":2}`)},
		{name: "batches of one", send: func(t *testing.T, h *testkit.Host) {
			each(func(row string) { do(t, h, sent{path: "/api/v1/predict/batch", body: `{"data":[[` + row + `]]}`}) })
		}},
		{name: "WebSocket", send: func(t *testing.T, h *testkit.Host) {
			c := dialSocket(t, h)
			each(func(row string) {
				if err := c.WriteMessage(websocket.TextMessage, []byte(`{"data":[`+row+`]}`)); err != nil {
					t.Fatal(err)
				}
				if _, _, err := c.ReadMessage(); err != nil {
					t.Fatal(err)
				}
			})
		}},
		{name: "NDJSON", send: file(table.NDJSON, "["+strings.Join(rows, "]\n[")+"]\n")},
		{name: "CSV", send: file(table.CSV, "x\n"+strings.NewReplacer(`"no"`, "no", "null", `""`).Replace(strings.Join(rows, "\n"))+"\n")},
		{name: "replay", none: true, send: post("/api/v1/models/m/samples", `{"data":`+all+`}`)},
	} {
		t.Run(d.name, func(t *testing.T) {
			h := serveMoody(t, func(c *rest.Config) { c.Samples = 1 }, "1.0.0")
			d.send(t, h)
			s := statsOf(t, h, "")
			want := api.Stats{Rows: 9, Scored: 5, Nonfinite: 1, Anomalies: 2, ScoreSum: 6.5, ScoreMean: 1.3, Failed: map[string]uint64{"RowError": 4, "ScoringError": 1}}
			if d.none {
				want = api.Stats{}
			}
			if s.Rows != want.Rows || s.Scored != want.Scored || s.Nonfinite != want.Nonfinite || s.Anomalies != want.Anomalies ||
				s.ScoreSum != want.ScoreSum || math.Abs(s.ScoreMean-want.ScoreMean) > 1e-12 || !maps.Equal(s.Failed, want.Failed) {
				t.Errorf("counted %+v\nwant    %+v", s, want)
			}
			got := samples(t, h)
			const v = `model_id="m",version="1.0.0"}`
			for name, n := range map[string]uint64{
				"model_rows_total{" + v: want.Rows, "model_rows_scored_total{" + v: want.Scored, "model_anomalies_total{" + v: want.Anomalies,
				"model_nonfinite_total{" + v: want.Nonfinite, "model_score_count{" + v: want.Scored,
				`model_rows_failed_total{error_type="RowError",` + v: want.Failed["RowError"], `model_rows_failed_total{error_type="ScoringError",` + v: want.Failed["ScoringError"],
			} {
				if text := got[name]; text != fmt.Sprint(n) && (n != 0 || text != "") {
					t.Errorf("%s is %q, want %d", name, text, n)
				}
			}
		})
	}
}

// TestFiguresOfAll checks that the counters without a version are the sums over all
// versions, the same at each call, whatever the weights.
func TestFiguresOfAll(t *testing.T) {
	h := serveMoody(t, nil, "1.0.0", "1.1.0")
	for version, n := range map[string]int{"1.0.0": 3, "1.1.0": 5} {
		body := `{"version":"` + version + `","data":[` + strings.Repeat("[2],", n) + `["no"]]}`
		if resp, text := do(t, h, sent{path: "/api/v1/predict/batch", body: body}); resp.StatusCode != http.StatusOK {
			t.Fatalf("%s", text)
		}
	}
	for range 3 {
		s := statsOf(t, h, "")
		if s.Version != "" || !slices.Equal(s.Versions, []string{"1.1.0", "1.0.0"}) || s.Scored != 8 || s.Requests != 2 || s.Failed["RowError"] != 2 || s.ScoreSum != 16 || s.ScoreMean != 2 {
			t.Errorf("%+v", s)
		}
	}
	if s := statsOf(t, h, "?sketch=true"); s.Sketch == nil || !slices.Equal(s.Sketch.Counts, []uint64{8}) || len(s.Sketch.Edges) != 1 || *s.ScoreMin != 2 || *s.ScoreMax != 2 {
		t.Errorf("%+v", s)
	}
	for _, value := range []string{"1", "", "True"} {
		if resp, text := do(t, h, sent{method: "GET", path: "/api/v1/models/m/stats?sketch=" + value}); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%d: %s", resp.StatusCode, text)
		}
	}
	if s := statsOf(t, h, "?version=1.0.0"); s.Version != "1.0.0" || !slices.Equal(s.Versions, []string{"1.0.0"}) || s.Scored != 3 {
		t.Errorf("%+v", s)
	}
}

// TestHugeScores checks that the counters are valid JSON for any scores.
func TestHugeScores(t *testing.T) {
	const huge = 1e308
	h := serveMoody(t, nil, "1.0.0", "1.1.0")
	for _, c := range []struct {
		row       string
		sum, mean float64
	}{{"1e308", huge, huge}, {"1e308", math.MaxFloat64, huge}, {"-1e308", huge, huge / 3}, {"-1e308", 0, 0}, {"-1e308", -huge, -huge / 5}} {
		if resp, text := do(t, h, sent{path: "/api/v1/predict", body: `{"version":"1.0.0","data":[` + c.row + `]}`}); resp.StatusCode != http.StatusOK {
			t.Fatalf("%s", text)
		}
		for _, query := range []string{"", "?version=1.0.0"} {
			s := statsOf(t, h, query)
			if math.Abs(s.ScoreSum-c.sum) > 1e-15*huge || math.Abs(s.ScoreMean-c.mean) > 1e-15*huge {
				t.Errorf("sum %v, mean %v; want %v, %v", s.ScoreSum, s.ScoreMean, c.sum, c.mean)
			}
		}
	}
	if _, body := do(t, h, sent{method: "GET", path: "/metrics"}); !bytes.Contains(body, []byte("model_score_sum{")) {
		t.Error("the metrics are not there")
	}
}

// TestLostRows checks that the rows of a request that fails as a whole are counted
// by its error_type.
func TestLostRows(t *testing.T) {
	for _, err := range []error{
		&sdk.RowErrors{Rows: []sdk.RowError{{Reason: "no"}}},
		&model.UnavailableError{ID: "m", Reason: "it is down"},
		fmt.Errorf("waiting: %w", batching.ErrOverloaded),
		batching.ErrCallerGone,
		context.DeadlineExceeded,
		fmt.Errorf("%w: %w", batching.ErrLate, context.DeadlineExceeded),
		model.ErrNotExplained,
		batching.AsScoring(errors.New("torn")),
		context.Canceled,
		errors.New("something else"),
	} {
		m := modeltest.OpenFake(t, modeltest.Simple("m", "1.0.0"), nil, func(*manifest.Manifest) sdk.Scorer { return moody{} })
		p := predict.New(predict.Config{Now: time.Now}, nil)
		var c predict.Call
		p.Use(&c, m)
		if err := c.Rows().JSONRows(&jsonscan.Scanner{Data: []byte(`[[1],["no"],[2],[3]]`)}, 100); err != nil {
			t.Fatal(err)
		}
		p.Lose(&c, err)
		want := map[string]uint64{"RowError": 1}
		want[string(rest.AsProblem(err).ErrorType)] += 3
		if got := m.Stats.Snapshot().Failed; !maps.Equal(got, want) {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
		p.Release(&c)
		modeltest.Check(t, m.Close())
	}
}
