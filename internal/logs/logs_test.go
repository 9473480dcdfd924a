package logs_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/logs"
)

func lines(t *testing.T, text string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for line := range strings.Lines(text) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		out = append(out, v)
	}
	return out
}

// TestPredictionsLookLikeTheRest checks that the lines encoded by hand have the
// members of all other lines and those of a prediction.
func TestPredictionsLookLikeTheRest(t *testing.T) {
	var out bytes.Buffer
	level := new(slog.LevelVar)
	base, err := logs.New(&out, level, "info", "json")
	if err != nil {
		t.Fatal(err)
	}
	logs.Named(base, "other").Info("hello", "n", 1)
	p := logs.NewPredictions(&out, level, "json", base)
	at := time.Date(2026, 11, 23, 1, 2, 3, 456_000_000, time.UTC)
	p.Log(&logs.Prediction{Time: at, ModelID: "m", Version: "1.0.0", RequestID: `a"b\c`, Latency: 1500 * time.Microsecond, Score: -0.25})
	p.Log(&logs.Prediction{Time: at, ModelID: "m", Version: "1.0.0", RequestID: "r", Latency: time.Second, Rows: 3, Anomalies: 2, Failed: 1})
	got := lines(t, out.String())
	if len(got) != 3 {
		t.Fatalf("%d lines", len(got))
	}
	for _, l := range got {
		for _, key := range []string{"timestamp", "level", "logger", "message"} {
			if _, ok := l[key]; !ok {
				t.Errorf("no %s in %v", key, l)
			}
		}
		if _, err := time.Parse(time.RFC3339, l["timestamp"].(string)); err != nil {
			t.Error(err)
		}
		if l["level"] != "INFO" {
			t.Errorf("level %v", l["level"])
		}
	}
	if l := got[1]; l["logger"] != "predictions" || l["model_id"] != "m" || l["latency_ms"] != 1.5 || l["prediction_score"] != -0.25 || l["request_id"] != `a"b\c` {
		t.Errorf("%v", l)
	}
	if l := got[2]; l["rows"] != 3.0 || l["anomalies"] != 2.0 || l["failed"] != 1.0 {
		t.Errorf("%v", l)
	}
	if err := logs.SetLevel(level, "warn"); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	p.Log(&logs.Prediction{Time: at, ModelID: "m"})
	if out.Len() > 0 {
		t.Errorf("logged below the level: %s", out.String())
	}
	if err := logs.SetLevel(level, "loud"); err == nil {
		t.Error("level loud was accepted")
	}
}

func TestTextFormat(t *testing.T) {
	var out bytes.Buffer
	level := new(slog.LevelVar)
	base, err := logs.New(&out, level, "info", "text")
	if err != nil {
		t.Fatal(err)
	}
	logs.NewPredictions(&out, level, "text", base).Log(&logs.Prediction{ModelID: "m", Score: 2})
	if !strings.Contains(out.String(), "logger=predictions") || !strings.Contains(out.String(), "prediction_score=2") {
		t.Errorf("%s", out.String())
	}
}

func BenchmarkPredictionByHand(b *testing.B) {
	p := logs.NewPredictions(io.Discard, new(slog.LevelVar), "json", nil)
	e := &logs.Prediction{Time: time.Now(), ModelID: "forest", Version: "1.0.0", RequestID: "5f7f1ba0-192", Latency: 412 * time.Microsecond, Score: 0.1237}
	for b.Loop() {
		p.Log(e)
	}
}

func BenchmarkPredictionBySlog(b *testing.B) {
	level := new(slog.LevelVar)
	base, err := logs.New(io.Discard, level, "info", "json")
	if err != nil {
		b.Fatal(err)
	}
	log := logs.Named(base, "predictions")
	for b.Loop() {
		log.LogAttrs(b.Context(), slog.LevelInfo, "prediction", slog.String("model_id", "forest"), slog.String("version", "1.0.0"),
			slog.Float64("latency_ms", 0.412), slog.String("request_id", "5f7f1ba0-192"), slog.Float64("prediction_score", 0.1237))
	}
}
