package logs_test

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/logs"
)

// BenchmarkPredictionContended measures logging from every processor into one
// buffer, which writes to nothing or to a file.
func BenchmarkPredictionContended(b *testing.B) {
	file, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = file.Close() })
	for _, to := range []struct {
		name string
		w    io.Writer
	}{{"discard", io.Discard}, {"file", file}} {
		b.Run(to.name, func(b *testing.B) {
			out := logs.NewBuffered(to.w)
			b.Cleanup(func() { _ = out.Close(context.Background()) })
			p := logs.NewPredictions(out, new(slog.LevelVar), "json", nil)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				e := &logs.Prediction{Time: time.Now(), ModelID: "forest", Version: "1.0.0", RequestID: "5f7f1ba0-192", Latency: 412 * time.Microsecond, Score: 0.1237}
				for pb.Next() {
					p.Log(e)
				}
			})
			b.ReportMetric(float64(out.Dropped()["prediction"])/float64(b.N), "dropped/op")
		})
	}
}
