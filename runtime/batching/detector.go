// Package batching calls detectors. It limits how many calls run at once, combines
// rows of different requests into calls, ends calls at their deadline, recovers
// panics, and finds the rows at which a detector fails.
//
// It knows no models: other packages know what a score means and how stateful models
// work.
package batching

import (
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/guard"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Detector is a scorer with the rules for calling it.
type Detector struct {
	Scorer   sdk.Scorer
	Features []sdk.Feature
	Owner    Owner
	Limits

	Sequential bool // takes one call at a time, in order
	Coupled    bool // a row's score depends on the other rows of its call
	Remote     bool // only waits for another process, so its calls need no workers of the host
	Bounded    bool // calls of merged rows end soon, so they run on the goroutine of a request
	Separate   bool // Bounded, and a call of several rows takes hardly less than a call for each: rows share calls only while all slots are taken
}

// Limits limit the calls of a detector.
type Limits struct {
	Timeout time.Duration // per call
	Rows    int           // per call
	Merged  int           // rows of different requests in a call
	Queue   int           // single rows that wait for a call
}

// Owner is the model of a detector. It words the errors of calls.
type Owner interface {
	// Unavailable returns an ErrUnavailable with a reason and the time after which
	// to retry.
	Unavailable(reason string, retryAfter time.Duration) error
	// Translate converts an error of the scorer, or a *guard.PanicError, to an error
	// of this package. If the result has a method Suspect that returns true, the
	// call's own rows made the detector unavailable.
	Translate(err error) error
	// Panicked is called for every panic.
	Panicked(p *guard.PanicError)
	// Reason returns the text for clients about a row at which the detector failed
	// with an ErrScoring.
	Reason(err error) string
}
