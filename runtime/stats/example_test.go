package stats_test

import (
	"fmt"
	"time"

	"github.com/pynomaly/pynomaly-runtime/runtime/stats"
)

func ExampleCounters() {
	c := stats.New([]float64{0, 1})
	c.Record(&stats.Call{Scores: []float64{-2, 0.5, 0.7, 3}, Threshold: 1})
	c.Answered(40 * time.Microsecond)
	s := c.Snapshot()
	fmt.Println(s.Rows, "rows,", s.Anomalies, "anomaly, bins", s.Bins, "in", s.Requests, "request")
	// Output: 4 rows, 1 anomaly, bins [1 2 1] in 1 request
}
