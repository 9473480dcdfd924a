package stamp_test

import (
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/stamp"
)

func TestAppendIsWhatTimeWrites(t *testing.T) {
	const layout = "2006-01-02T15:04:05.000Z"
	zone := time.FixedZone("east", 5*3600+1800)
	for _, at := range []time.Time{
		time.Date(2026, 11, 23, 1, 2, 3, 4_999_999, time.UTC),
		time.Date(1999, 12, 31, 23, 59, 59, 999_999_999, zone),
		time.Date(2000, 2, 29, 0, 0, 0, 0, time.UTC),
		time.Unix(0, 0),
	} {
		if got, want := string(stamp.Append(nil, at)), at.UTC().Format(layout); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
