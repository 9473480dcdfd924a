package faults

import (
	"os"
	"strconv"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

func TestMain(m *testing.M) { hosttest.Main(m) }

// Short names of what the suites share.
type (
	place   = hosttest.Place
	options = hosttest.Options
	tally   = hosttest.Tally
)

const (
	hangs      = hosttest.Hangs
	patience   = hosttest.Patience
	usualDrain = hosttest.UsualDrain
	pima       = hosttest.Pima
	goodBody   = hosttest.GoodBody
	graphBody  = hosttest.GraphBody
	mega       = hosttest.Mega
)

// host is a running host with methods that only these scenarios need.
type host struct{ *hosttest.Host }

// start starts a host at a place. The test's cleanup ends it.
func start(t *testing.T, p place, o options) *host {
	t.Helper()
	return &host{hosttest.Start(t, p, o)}
}

// ready waits until the host is ready.
func (h *host) ready() *host {
	h.T.Helper()
	h.Ready()
	return h
}

func goodModels(t *testing.T, p place) {
	t.Helper()
	hosttest.GoodModels(t, p)
}

// full reports whether the whole suite runs instead of the short form.
func full() bool { return os.Getenv("FAULTS") == "full" }

// pick returns the value for the short or the whole form.
func pick[T any](short, whole T) T {
	if full() {
		return whole
	}
	return short
}

// seed returns the seed of the random choices.
func seed() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("FAULTS_SEED"), 10, 64); err == nil {
		return n
	}
	return 1
}
