// Package batching calls detectors: it bounds how many calls run at once, puts the rows
// of different requests into common calls, ends what is late, recovers panics, and finds
// the rows at which a detector fails.
//
// It knows no models: what a score means, and what a model that remembers needs, is not
// here.
package batching

import (
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/guard"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Detector is a scorer and how it may be called.
type Detector struct {
	Scorer   sdk.Scorer
	Features []sdk.Feature
	Owner    Owner
	Limits

	Sequential bool // it takes one call at a time, in order
	Coupled    bool // a row's score depends on the other rows of its call
	Remote     bool // it works elsewhere, and waits for that: it needs none of the host's workers
}

// Limits bound the calls of a detector.
type Limits struct {
	Timeout time.Duration // of a call
	Rows    int           // of a call
	Merged  int           // rows of different requests in a call
	Queue   int           // single rows that wait for a call
}

// Owner is the model that a detector belongs to. It finds the words for what calls end
// with.
type Owner interface {
	// Unavailable returns an ErrUnavailable with a reason and a time after which it is
	// worth asking again.
	Unavailable(reason string, retryAfter time.Duration) error
	// Translate puts an error that the scorer has returned, or a *guard.PanicError, into
	// the errors of this package. One with a method Suspect that returns true says that
	// the call's own rows made the detector unavailable.
	Translate(err error) error
	// Panicked is told of every panic.
	Panicked(p *guard.PanicError)
	// Reason says what a client is told of a row at which the detector failed with an
	// ErrScoring.
	Reason(err error) string
}
