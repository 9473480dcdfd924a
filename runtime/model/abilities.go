package model

import (
	"context"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// abilities are what a detector can do besides scoring, found once when it is
// opened. nil means that it cannot.
type abilities struct {
	explainer sdk.Explainer
	learner   sdk.Learner
	saver     sdk.Snapshotter
	resetter  sdk.Resetter
	health    sdk.HealthChecker
	memory    sdk.MemoryUser
	usage     backends.UsageReporter
	remote    bool // only waits for another process
	engine    backends.Engine
	bounded   bool          // calls of a few rows end soon
	separate  bool          // bounded, and rows save little by sharing a call
	rows      int           // of the largest call; 0: as the manifest says
	fill      batching.Fill // the fill that the detector knows it needs
}

func abilitiesOf(s sdk.Scorer) abilities {
	var a abilities
	a.explainer, _ = s.(sdk.Explainer)
	a.learner, _ = s.(sdk.Learner)
	a.saver, _ = s.(sdk.Snapshotter)
	a.resetter, _ = s.(sdk.Resetter)
	a.health, _ = s.(sdk.HealthChecker)
	a.memory, _ = s.(sdk.MemoryUser)
	a.usage, _ = s.(backends.UsageReporter)
	if r, ok := s.(backends.Remote); ok {
		a.remote = r.Remote()
	}
	if b, ok := s.(sdk.Bounded); ok {
		a.bounded = b.Bounded()
	}
	if r, ok := s.(backends.RowByRow); ok {
		a.separate = a.bounded && r.RowByRow()
	}
	if e, ok := s.(backends.EngineReporter); ok {
		a.engine = e.Engine()
	}
	if l, ok := s.(backends.RowLimiter); ok {
		a.rows = l.MaxRows()
	}
	if f, ok := s.(backends.Filler); ok {
		a.fill.Rows, a.fill.Each = f.Fill()
	}
	return a
}

// Health returns why a loaded model cannot answer at present, or nil.
func (m *Model) Health(ctx context.Context) error {
	if m.can.health == nil {
		return nil
	}
	return m.slots.Guard(func() error { return m.can.health.Health(ctx) })
}

// Engine returns what computes the scores, and the zero Engine if there is no choice.
func (m *Model) Engine() backends.Engine { return m.can.engine }

// Usage returns the resources of the detector, or false if it does not report them.
func (m *Model) Usage() (backends.Usage, bool) {
	if m.can.usage == nil {
		return backends.Usage{}, false
	}
	return m.can.usage.Usage(), true
}

// Figures returns the present figures of the detector's slots.
func (m *Model) Figures(now time.Time) batching.Figures { return m.slots.Figures(now) }
