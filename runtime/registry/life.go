package registry

import (
	"errors"
	"time"

	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
)

// This file has the life of a version. The function next computes from a life and an
// event the next life and the actions to take. It changes nothing, waits for nothing
// and knows no model: the registry carries the actions out.

// life is the state of a version.
type life struct {
	serving  bool     // an instance answers
	loading  bool     // a load is in progress
	again    bool     // the files have changed since that load began
	settled  bool     // the last scan that could tell found complete files
	known    bool     // an instance has answered before
	unloaded bool     // on request; it stays unloaded until a request loads it
	gone     bool     // the files are gone, or the registry is closing
	arriving bool     // it appeared while another version answered, and has not loaded yet
	failed   *failure // of the last load or scan; nil: it succeeded
	unread   error    // why the last scan could not read it; nil: it could
}

// failure describes how the last load of a version failed. It is immutable.
type failure struct {
	err      error
	kind     FailureKind
	attempts int       // consecutive ones that failed because of the surroundings
	retryAt  time.Time // zero: the load is not retried automatically
}

// eventKind says what happened to a version.
type eventKind uint8

const (
	seenSame       eventKind = iota // a scan found the same files as before
	seenChanged                     // a scan found changed files
	seenWriting                     // a scan found that the files are being written: err
	seenUnreadable                  // a scan could not read the files at present: err
	seenBroken                      // a scan found files that are not a model: err
	ended                           // the files are gone, or the registry is closing
	started                         // there is room, and the load begins
	noRoom                          // there is no room for the load
	opened                          // a load ended with an instance
	openedSame                      // a load found the files from which the instance was opened
	openFailed                      // a load failed: err
	openUnsettled                   // a load found that the files are being written: err
	asked                           // a request to load
	declined                        // that load failed
	dismissed                       // a request to unload
	evicted                         // another version needed the room
	eventKinds
)

// event is something that happened to a version.
type event struct {
	kind    eventKind
	err     error
	wanted  bool      // seenChanged: the version is loaded without a request. declined: it was unloaded before
	arrives bool      // seenChanged, asked: another version answers
	now     time.Time // for failures
	random  float64   // for failures, in [0, 1)
}

// action is a set of actions to take.
type action uint8

const (
	actLoad    action = 1 << iota // begin a load if there is room; started or noRoom follows
	actOpen                       // open the files; one of the opened events follows
	actInstall                    // let the new instance answer
	actDiscard                    // close the new instance
	actRetire                     // close the instance that answered, after its last lease
	actTell                       // report the failure
	actRetry                      // schedule the retry
)

// next returns the life after an event, and the actions to take. An event that
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

// look is next for a scan of the directory.
func (s life) look(e event) (life, action) {
	switch e.kind {
	case seenWriting:
		if !s.serving && !s.settled {
			s.unread = e.err
		}
		return s, 0
	case seenUnreadable: // the contents are unknown: the version stays as it is
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
			s.failed = nil // it was about the former files
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
	case openUnsettled: // the next scan finds it changed
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

// ask is next for a request to load, even if the version failed or was unloaded
// before.
func (s life) ask(e event) (life, action) {
	s.unloaded = false
	if s.failed == nil {
		return s, 0
	}
	s.failed = nil
	s.arriving = e.arrives && !s.serving
	if s.serving {
		return s, actLoad // load the change that failed
	}
	return s, 0
}

// fail records a failure and the time of the retry.
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

// state returns the state that listings show.
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

// standing returns what resolution knows of a life.
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

// atFault reports whether the last load failed because of the version's files.
func (s life) atFault() bool { return s.failed != nil && s.failed.kind == FailureFile }

// down reports whether a version has failed and does not run, without having been
// unloaded on request.
func (s life) down() bool {
	return !s.serving && !s.unloaded && (s.failed != nil || s.unread != nil && !s.settled)
}

// problem returns why the version in the directory cannot be served, or nil.
func (s life) problem() error {
	if s.failed != nil {
		return s.failed.err
	}
	return s.unread
}

// failure returns the kind of problem.
func (s life) failure() FailureKind {
	if s.failed != nil {
		return s.failed.kind
	}
	return FailureSurroundings
}

// refusal returns why a request must not begin a load, or nil.
func (s life) refusal(now time.Time) error {
	switch {
	case s.failed != nil && (s.failed.retryAt.IsZero() || s.failed.retryAt.After(now)):
		return s.failed.err
	case s.failed == nil && !s.settled:
		return s.unread
	}
	return nil
}

// retryIn returns the time until the retry, and whether there is one.
func (s life) retryIn(now time.Time) (time.Duration, bool) {
	if s.failed == nil || s.failed.retryAt.IsZero() {
		return 0, false
	}
	return s.failed.retryAt.Sub(now), true
}

// undecided reports whether a version may still load for the first time without a
// request.
func (s life) undecided() bool {
	return !s.known && !s.unloaded && s.failed == nil && s.unread == nil
}
