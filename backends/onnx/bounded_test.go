package onnx_test

import (
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
)

func TestBounded(t *testing.T) {
	for name, c := range map[string]struct {
		operators map[string]int
		took      time.Duration
		rows      int
		want      bool
	}{
		"a fused forest":       {map[string]int{"TreeEnsembleRegressor": 1}, 40 * time.Millisecond, 10_000, true},
		"a slow graph":         {map[string]int{"MatMul": 100}, 10 * time.Second, 10_000, false},
		"slow with one row":    {map[string]int{"MatMul": 100}, 20 * time.Millisecond, 1, false},
		"distances in a loop":  {map[string]int{"Scan": 1}, time.Millisecond, 10_000, false},
		"a loop":               {map[string]int{"Loop": 1}, time.Millisecond, 10_000, false},
		"a branch":             {map[string]int{"If": 2}, time.Millisecond, 10_000, false},
		"proved without times": {map[string]int{"Add": 1}, 0, 10_000, false},
	} {
		if got := onnx.Bounded(&graph.Model{Operators: c.operators}, c.took, c.rows); got != c.want {
			t.Errorf("%s: bounded is %v", name, got)
		}
	}
}

func TestDirection(t *testing.T) {
	for name, want := range map[string]string{
		"score_samples": "normal", "decision_function": "normal", "log_likelihood": "normal", "Score_Samples_1": "normal",
		"reconstruction_error": "anomalous", "anomaly_score": "anomalous", "outlier_scores": "anomalous", "MSE": "anomalous", "decision_scores_": "anomalous",
		"abnormality": "anomalous", "anomaly_likelihood": "anomalous", "normality_score": "normal", "log_prob": "normal", "reconstruction_loss": "anomalous",
		"neg_log_likelihood": "unknown", "nll": "unknown", "negative_outlier_factor": "unknown", "negative_mse": "unknown",
		"score": "unknown", "scores": "unknown", "variable": "unknown", "output": "unknown", "": "unknown",
	} {
		normal, known := onnx.Direction(name)
		got := "unknown"
		if known && normal {
			got = "normal"
		} else if known {
			got = "anomalous"
		}
		if got != want {
			t.Errorf("%q: higher values are %s, want %s", name, got, want)
		}
	}
}
