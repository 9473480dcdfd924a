package registry

import (
	"errors"
	"time"

	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
)

// This file is the life of a version: next says what each event makes of where it
// stands, and what is to be done. It changes nothing, waits for nothing and knows no
// model: the registry carries the actions out.

// life is where a version stands.
type life struct {
	serving  bool     // an instance answers
	loading  bool     // a load is under way
	again    bool     // the files have changed since that load began
	settled  bool     // the last look that could say found whole files
	known    bool     // an instance has answered at some time
	unloaded bool     // by request: it stays so until somebody asks for it
	gone     bool     // the files are, or the registry is closing
	arriving bool     // it came while another version answered, and has not loaded yet
	failed   *failure // of the last load, or look; nil: it did not fail
	unread   error    // why the last look could not read it; nil: it could
}

// failure is how the last load of a version failed. It does not change.
type failure struct {
	err      error
	kind     FailureKind
	attempts int       // that failed in a row because of the surroundings
	retryAt  time.Time // zero: the load is not tried again by itself
}

// eventKind says what has happened to a version.
type eventKind uint8

const (
	seenSame       eventKind = iota // a look found the files that were there before
	seenChanged                     // or others
	seenWriting                     // or that they are being written: err
	seenUnreadable                  // or could not read them for now: err
	seenBroken                      // or that they are no model: err
	ended                           // the files are gone, or the registry is closing
	started                         // there is room, and its load begins
	noRoom                          // there is none
	opened                          // a load ended with an instance
	openedSame                      // or found the files that an instance has been opened from
	openFailed                      // or failed: err
	openUnsettled                   // or found that the files are being written: err
	asked                           // somebody asks for the load
	declined                        // and it failed
	dismissed                       // somebody asks for the unload
	evicted                         // another version takes its place
	eventKinds
)

// event is something that has happened to a version.
type event struct {
	kind    eventKind
	err     error
	wanted  bool      // seenChanged: the version is loaded without being asked for. declined: it was unloaded before
	arrives bool      // seenChanged, asked: another version answers
	now     time.Time // of failures
	random  float64   // of failures, in [0, 1)
}

// action is a set of what is to be done.
type action uint8

const (
	actLoad    action = 1 << iota // begin a load, if there is room: started or noRoom follows
	actOpen                       // open the files: one of the opened events follows
	actInstall                    // let the new instance answer
	actDiscard                    // end the new instance
	actRetire                     // end the instance that answered, after its last lease
	actTell                       // tell of the failure
	actRetry                      // retry in time
)

// next returns what an event makes of a life, and what is to be done. An event that
// cannot happen changes nothing.
func next(s life, e event) (life, action) {
	switch e.kind {
	case seenSame, seenChanged, seenWriting, seenUnreadable, seenBroken:
		return s.look(e)
	case opened, openedSame, openFailed, openUnsettled:
		return s.outcome(e)
	case started:
		if s.loading || s.gone {
			return s, 0
		}
		s.loading = true
		return s, actOpen
	case noRoom: // a request loads it
		s.arriving = false
	case asked:
		return s.ask(e)
	case declined:
		s.unloaded = s.unloaded || e.wanted
		s.arriving = s.arriving && s.loading
	case dismissed:
		s.unloaded, s.arriving = true, false
		return s.retire()
	case evicted:
		return s.retire()
	case ended:
		s.gone = true
		return s.retire()
	}
	return s, 0
}

func (s life) retire() (life, action) {
	if !s.serving {
		return s, 0
	}
	s.serving = false
	return s, actRetire
}

// look is next for what a look at the directory found.
func (s life) look(e event) (life, action) {
	switch e.kind {
	case seenWriting:
		if !s.serving && !s.settled {
			s.unread = e.err
		}
		return s, 0
	case seenUnreadable: // what is there is not known: the version stays as it is
		s.unread = e.err
		return s, 0
	}
	s.unread = nil
	switch e.kind {
	case seenBroken:
		s.settled = false
		if s.failed == nil || s.failed.err.Error() != e.err.Error() {
			return s.fail(e)
		}
	case seenChanged:
		s.settled = true
		if !s.serving {
			s.failed = nil // of the files that were there before
		}
		if s.loading {
			s.again = true
			return s, 0
		}
		s.arriving = false
		if !s.unloaded && (s.serving || e.wanted) {
			s.arriving = e.arrives && !s.serving
			return s, actLoad
		}
	}
	return s, 0
}

// outcome is next for the end of a load.
func (s life) outcome(e event) (life, action) {
	if !s.loading {
		return s, 0
	}
	s.loading = false
	var do action
	switch e.kind {
	case opened:
		if s.gone || s.unloaded {
			do = actDiscard
			break
		}
		if s.serving {
			do = actRetire
		}
		do |= actInstall
		s.serving, s.known, s.failed, s.arriving = true, true, nil, false
	case openedSame:
		s.failed = nil
	case openFailed:
		if !s.gone {
			s, do = s.fail(e)
		}
	case openUnsettled: // the next look finds it changed
		s.settled = s.settled && s.again
		if !s.serving && s.failed == nil {
			s.unread = e.err
		}
	}
	if s.again {
		s.again = false
		if !s.gone && !s.unloaded {
			do |= actLoad
		}
	}
	return s, do
}

// ask is next for somebody who asks for the load: that it failed or was unloaded before
// does not matter.
func (s life) ask(e event) (life, action) {
	s.unloaded = false
	if s.failed == nil {
		return s, 0
	}
	s.failed = nil
	s.arriving = e.arrives && !s.serving
	if s.serving {
		return s, actLoad // of the change that failed
	}
	return s, 0
}

// fail notes a failure, and when to try again.
func (s life) fail(e event) (life, action) {
	f := &failure{err: e.err, kind: KindOf(e.err)}
	do := actTell
	if f.kind == FailureSurroundings {
		f.attempts = 1
		if s.failed != nil {
			f.attempts += s.failed.attempts
		}
		f.retryAt = e.now.Add(retryAfterAttempts(f.attempts, e.random))
		do |= actRetry
	}
	s.failed = f
	return s, do
}

// state is what is said of a life.
func (s life) state() State {
	switch {
	case s.serving:
		return StateLoaded
	case s.loading:
		return StateLoading
	case s.unloaded:
		return StateUnloaded
	case s.down():
		return StateFailed
	}
	return StateAvailable
}

// standing is what resolution knows of a life.
func (s life) standing() standing {
	switch {
	case s.serving:
		return offered
	case s.unloaded, s.atFault():
		return out
	case s.arriving, !s.settled && errors.Is(s.unread, catalog.ErrUnsettled):
		return arriving
	}
	return offered
}

// atFault reports whether the last load failed by the version's files.
func (s life) atFault() bool { return s.failed != nil && s.failed.kind == FailureFile }

// down reports whether a version has failed and nothing of it runs, although nobody has
// unloaded it.
func (s life) down() bool {
	return !s.serving && !s.unloaded && (s.failed != nil || s.unread != nil && !s.settled)
}

// problem returns why a version cannot be had as it lies in the directory; nil: it can.
func (s life) problem() error {
	if s.failed != nil {
		return s.failed.err
	}
	return s.unread
}

// failure is the kind of problem.
func (s life) failure() FailureKind {
	if s.failed != nil {
		return s.failed.kind
	}
	return FailureSurroundings
}

// refusal returns why a load is not to be begun for a request; nil: it may be.
func (s life) refusal(now time.Time) error {
	switch {
	case s.failed != nil && (s.failed.retryAt.IsZero() || s.failed.retryAt.After(now)):
		return s.failed.err
	case s.failed == nil && !s.settled:
		return s.unread
	}
	return nil
}

// retryIn returns how long it is to the retry, and whether there is one.
func (s life) retryIn(now time.Time) (time.Duration, bool) {
	if s.failed == nil || s.failed.retryAt.IsZero() {
		return 0, false
	}
	return s.failed.retryAt.Sub(now), true
}

// undecided reports whether a version may still load for the first time by itself.
func (s life) undecided() bool {
	return !s.known && !s.unloaded && s.failed == nil && s.unread == nil
}
