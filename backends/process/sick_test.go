package process_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestSick checks that a process that fails at every row is restarted, and that rows
// that it cannot score do not end a healthy one.
func TestSick(t *testing.T) {
	for name, c := range map[string]struct {
		settings string
		row      float64
		want     string
	}{
		// With one call at a time, each call waits for the result of the one before.
		"it panics":                  {`"concurrency":1`, -1009, "it is sick"},
		"it has no descriptors left": {`"concurrency":1,"fault":"files"`, -1008, "too many open files"},
	} {
		t.Run(name, func(t *testing.T) {
			a := artifact(t, c.settings, xy)
			log, logs := logger()
			s := open(t, backend(t, a, logs), a)
			if got, err := score(t, s, 1, 2); err != nil || got[0] != 3 {
				t.Fatalf("%v, %v", got, err)
			}
			before := processes(t)
			for range 12 { // bad rows, not a sick process
				var fault *backends.FaultError
				if _, err := score(t, s, -1006, 0); !errors.As(err, &fault) || !strings.Contains(err.Error(), "the detector panicked: at a row") {
					t.Fatalf("%v", err)
				}
			}
			if _, err := score(t, s, c.row, 0); err != nil {
				t.Fatal(err)
			}
			if now := processes(t); len(now) != 1 || now[0] != before[0] {
				t.Errorf("processes %v, then %v", before, now)
			}
			var fault *backends.FaultError
			if _, err := score(t, s, 1, 2); !errors.As(err, &fault) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			testkit.Eventually(t, "another process serves", func() bool { got, err := score(t, s, 1, 2); return err == nil && got[0] == 3 })
			if now := processes(t); len(now) != 1 || now[0] == before[0] {
				t.Errorf("processes %v, then %v", before, now)
			}
			testkit.Eventually(t, "the log says why", func() bool {
				return strings.Contains(log.String(), "5 calls in a row failed, the last with: ") && strings.Contains(log.String(), c.want)
			})
		})
	}
}

// TestSickFromTheStart checks that a failing process is restarted if no row was ever
// scored, as there is nothing to compare with, or if it is stateful.
func TestSickFromTheStart(t *testing.T) {
	for _, settings := range []string{"", `"stateful":true`} {
		a := artifact(t, settings, xy)
		log, logs := logger()
		s := open(t, backend(t, a, logs), a)
		for range 5 {
			var fault *backends.FaultError
			if _, err := score(t, s, -1006, 0); !errors.As(err, &fault) {
				t.Errorf("%v", err)
			}
		}
		testkit.Eventually(t, "it is ended", func() bool { return strings.Contains(log.String(), "5 calls in a row failed") })
		testkit.Eventually(t, "another serves", func() bool { _, err := score(t, s, 1, 2); return err == nil })
	}
}
