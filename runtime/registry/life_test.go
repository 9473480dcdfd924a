package registry

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
)

// walked is a version in a random walk: its life, and what a registry keeps with it.
type walked struct {
	life
	opening   int // opens in progress
	current   *walkedInstance
	instances []*walkedInstance
	pinned    bool
}

type walkedInstance struct {
	instance
	closings int // how often it was to be closed
}

// walk is a registry of a few versions, without models, files or a clock.
type walk struct {
	versions []*walked
	past     []*walked // removed versions, each of which another one has replaced
	order    []*walked // of use, oldest first
	room     room
	now      time.Time
}

var (
	errWalkFile    = fmt.Errorf("%w: damaged", backends.ErrRefused)
	errWalkMachine = fmt.Errorf("%w: no space left", backends.ErrSurroundings)
)

// step applies an event to a version and carries out its actions, as the registry
// does.
func (w *walk) step(t *rapid.T, v *walked, e event) {
	e.now, e.random = w.now, 0
	before := v.life
	var do action
	v.life, do = next(v.life, e)
	w.checkStep(t, before, v.life, e, do)
	if do&actRetire != 0 {
		w.retire(t, v)
	}
	if do&actOpen != 0 {
		if v.opening++; v.opening > 1 {
			t.Fatal("a version is opened twice at once")
		}
	}
	if e.kind == opened && before.loading {
		if do&(actInstall|actDiscard) == 0 {
			t.Fatal("an instance is forgotten")
		}
		i := &walkedInstance{}
		v.instances = append(v.instances, i)
		if do&actDiscard != 0 {
			w.use(t, i, useRetire)
		} else {
			v.current = i
			w.order = append(w.order, v)
		}
	}
	if do&actLoad != 0 {
		w.start(t, v)
	}
}

// checkStep checks the effect of one event on a life.
func (w *walk) checkStep(t *rapid.T, before, after life, e event, do action) {
	if before.atFault() && after.failed == nil && !slices.Contains([]eventKind{seenChanged, asked, opened, openedSame}, e.kind) {
		t.Fatalf("event %d makes a verdict forgotten", e.kind)
	}
	if f := after.failed; f != nil && f != before.failed {
		if do&actTell == 0 || (f.kind == FailureSurroundings) != (do&actRetry != 0) || f.retryAt.IsZero() != (f.kind == FailureFile) {
			t.Fatalf("%+v after event %d: actions %b", f, e.kind, do)
		}
		if f.kind == FailureSurroundings && !f.retryAt.After(w.now) {
			t.Fatalf("it is tried again at %v, and it is %v", f.retryAt, w.now)
		}
	}
	if before.unloaded && !after.unloaded && e.kind != asked {
		t.Fatalf("event %d loads what was unloaded", e.kind)
	}
	if do&actInstall != 0 && do&actDiscard != 0 || do&actInstall != 0 && (after.gone || after.unloaded) {
		t.Fatalf("actions %b of %+v", do, after)
	}
	if before.gone && !after.gone || before.gone && do&(actOpen|actLoad|actInstall) != 0 {
		t.Fatalf("what is gone comes back: %+v, actions %b", after, do)
	}
}

// start begins a load if there is room.
func (w *walk) start(t *rapid.T, v *walked) {
	if !v.loading && !v.serving && !w.makeRoom(t, 1) {
		w.step(t, v, event{kind: noRoom})
		return
	}
	w.step(t, v, event{kind: started})
}

func (w *walk) makeRoom(t *rapid.T, more int) bool {
	for _, v := range w.versions {
		if v.loading && !v.serving {
			more++
		}
	}
	all := make([]resident, len(w.order))
	for i, v := range w.order {
		all[i] = resident{leases: v.current.leases, pinned: v.pinned || v.loading, bytes: 1}
	}
	chosen, fits := w.room.evict(all, more)
	var evict []*walked
	for _, i := range chosen {
		if all[i].leases > 0 || all[i].pinned {
			t.Fatal("a version is evicted that is leased or pinned")
		}
		evict = append(evict, w.order[i])
	}
	if fits {
		for _, v := range evict {
			w.step(t, v, event{kind: evicted})
		}
		if len(w.order)+more > w.room.versions {
			t.Fatalf("%d versions are loaded and %d are to come", len(w.order), more)
		}
	}
	return fits
}

func (w *walk) retire(t *rapid.T, v *walked) {
	i := v.current
	v.current = nil
	w.order = slices.DeleteFunc(w.order, func(o *walked) bool { return o == v })
	w.use(t, i, useRetire)
}

func (w *walk) use(t *rapid.T, i *walkedInstance, u use) {
	var closing bool
	if i.instance, closing = i.next(u); closing {
		if i.closings++; i.closings > 1 || i.leases > 0 || i.holds > 0 || !i.retired {
			t.Fatalf("closed %d times: %+v", i.closings, i.instance)
		}
	}
}

// check checks what always holds.
func (w *walk) check(t *rapid.T) {
	for _, v := range w.versions {
		if v.loading != (v.opening == 1) || v.serving != (v.current != nil) || v.gone && v.serving {
			t.Fatalf("%+v with %d opens under way", v.life, v.opening)
		}
		for _, i := range v.instances {
			if i != v.current && !i.retired || i == v.current && (i.retired || i.closings > 0) {
				t.Fatalf("%+v beside %+v", i, v.life)
			}
		}
		if v.serving && v.state() != StateLoaded || v.down() && v.standing() == offered && v.failure() == FailureFile {
			t.Fatalf("%+v is %s", v.life, v.state())
		}
	}
	if len(w.order) > w.room.versions {
		t.Fatalf("%d versions are loaded", len(w.order))
	}
}

// pick draws an element for which a condition holds, or skips.
func pick[T any](t *rapid.T, all []T, holds func(T) bool) T {
	var some []T
	for _, one := range all {
		if holds(one) {
			some = append(some, one)
		}
	}
	if len(some) == 0 {
		t.Skip("there is none")
	}
	return rapid.SampledFrom(some).Draw(t, "which")
}

// TestLives walks at random through the lives of versions that share a cache.
func TestLives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &walk{room: room{versions: rapid.IntRange(1, 3).Draw(t, "room")}, now: time.Unix(0, 0)}
		for i := range 3 {
			w.versions = append(w.versions, &walked{pinned: i == 0 && rapid.Bool().Draw(t, "pinned")})
		}
		any := func(*walked) bool { return true }
		instances := func(holds func(*walkedInstance) bool) *walkedInstance {
			var all []*walkedInstance
			for _, v := range slices.Concat(w.versions, w.past) {
				all = append(all, v.instances...)
			}
			return pick(t, all, holds)
		}
		seen := func(e event) func(*rapid.T) {
			return func(t *rapid.T) {
				e.wanted, e.arrives = rapid.Bool().Draw(t, "wanted"), rapid.Bool().Draw(t, "arrives")
				w.step(t, pick(t, w.versions, func(v *walked) bool { return !v.gone }), e)
			}
		}
		ends := func(e event) func(*rapid.T) {
			return func(t *rapid.T) {
				v := pick(t, slices.Concat(w.versions, w.past), func(v *walked) bool { return v.opening > 0 })
				if e.kind == openedSame && !v.serving {
					t.Skip("nothing runs that it could be the same as")
				}
				v.opening--
				w.step(t, v, e)
			}
		}
		writing := fmt.Errorf("x %w", catalog.ErrUnsettled)
		actions := map[string]func(*rapid.T){
			"":                w.check,
			"look same":       seen(event{kind: seenSame}),
			"look changed":    seen(event{kind: seenChanged}),
			"look writing":    seen(event{kind: seenWriting, err: writing}),
			"look unreadable": seen(event{kind: seenUnreadable, err: errWalkMachine}),
			"look broken":     seen(event{kind: seenBroken, err: errWalkFile}),
			"gone":            func(t *rapid.T) { w.replace(t, rapid.IntRange(0, 2).Draw(t, "which")) },
			"opened":          ends(event{kind: opened}),
			"opened same":     ends(event{kind: openedSame}),
			"open refused":    ends(event{kind: openFailed, err: errWalkFile}),
			"open failed":     ends(event{kind: openFailed, err: errWalkMachine}),
			"open unsettled":  ends(event{kind: openUnsettled, err: writing}),
			"request": func(t *rapid.T) {
				v := pick(t, w.versions, func(v *walked) bool { return !v.gone && !v.unloaded })
				switch {
				case v.serving:
					w.use(t, v.current, useLease)
					w.order = append(slices.DeleteFunc(w.order, func(o *walked) bool { return o == v }), v)
				case v.refusal(w.now) == nil:
					w.start(t, v)
				case v.atFault() && v.refusal(w.now.Add(1000*time.Hour)) == nil:
					t.Fatalf("a verdict is forgotten in time: %+v", v.life)
				}
			},
			"release": func(t *rapid.T) {
				w.use(t, instances(func(i *walkedInstance) bool { return i.leases > 0 }), useRelease)
			},
			"hold": func(t *rapid.T) {
				w.use(t, pick(t, w.versions, func(v *walked) bool { return v.serving }).current, useHold)
			},
			"drop": func(t *rapid.T) {
				w.use(t, instances(func(i *walkedInstance) bool { return i.holds > 0 }), useDrop)
			},
			"ask": func(t *rapid.T) {
				w.step(t, pick(t, w.versions, func(v *walked) bool { return !v.gone }), event{kind: asked, arrives: rapid.Bool().Draw(t, "arrives")})
			},
			"decline": func(t *rapid.T) {
				w.step(t, pick(t, w.versions, any), event{kind: declined, wanted: rapid.Bool().Draw(t, "was unloaded")})
			},
			"unload": func(t *rapid.T) { w.step(t, pick(t, w.versions, any), event{kind: dismissed}) },
			"retry": func(t *rapid.T) {
				w.now = w.now.Add(lastRetry)
				for _, v := range w.versions {
					if wait, retries := v.retryIn(w.now); retries && wait > 0 {
						t.Fatalf("%v after the failure it is not tried again", lastRetry)
					} else if retries && !v.loading && !v.unloaded && !v.gone {
						w.start(t, v)
					}
				}
			},
		}
		for range 10 { // longer walks than rapid's
			t.Repeat(actions)
		}
		w.drain(t)
	})
}

// replace removes a version and adds another one.
func (w *walk) replace(t *rapid.T, at int) {
	v := w.versions[at]
	w.step(t, v, event{kind: ended})
	w.past = append(w.past, v)
	w.versions[at] = &walked{pinned: v.pinned}
}

// drain ends everything, as a stopping host does. Each instance must then be closed
// once.
func (w *walk) drain(t *rapid.T) {
	w.versions = append(w.versions, w.past...)
	for _, v := range w.versions {
		w.step(t, v, event{kind: ended})
		if v.opening > 0 {
			v.opening--
			w.step(t, v, event{kind: opened})
		}
		for _, i := range v.instances {
			for i.leases > 0 {
				w.use(t, i, useRelease)
			}
			for i.holds > 0 {
				w.use(t, i, useDrop)
			}
			if i.closings != 1 {
				t.Fatalf("closed %d times: %+v of %+v", i.closings, i.instance, v.life)
			}
		}
	}
	w.check(t)
	if len(w.order) > 0 {
		t.Fatalf("%d versions are loaded still", len(w.order))
	}
}

// TestNext checks the effect of single events on a life.
func TestNext(t *testing.T) {
	file := &failure{err: errWalkFile, kind: FailureFile}
	machine := &failure{err: errWalkMachine, kind: FailureSurroundings, attempts: 1, retryAt: time.Unix(5, 0)}
	for _, c := range []struct {
		name string
		from life
		with event
		do   action
		want State
	}{
		{"a new version that is wanted", life{}, event{kind: seenChanged, wanted: true}, actLoad, StateAvailable},
		{"one that is not", life{}, event{kind: seenChanged}, 0, StateAvailable},
		{"a change of what runs", life{serving: true, settled: true}, event{kind: seenChanged}, actLoad, StateLoaded},
		{"a change during a load", life{loading: true, settled: true}, event{kind: seenChanged, wanted: true}, 0, StateLoading},
		{"and its end", life{loading: true, settled: true, again: true}, event{kind: openFailed, err: errWalkFile}, actTell | actLoad, StateFailed},
		{"a verdict", life{loading: true, settled: true}, event{kind: openFailed, err: errWalkFile}, actTell, StateFailed},
		{"trouble", life{loading: true, settled: true}, event{kind: openFailed, err: errWalkMachine}, actTell | actRetry, StateFailed},
		{"mended files", life{failed: file}, event{kind: seenChanged, wanted: true}, actLoad, StateAvailable},
		{"a broken change", life{serving: true, loading: true, settled: true}, event{kind: openFailed, err: errWalkFile}, actTell, StateLoaded},
		{"a swap", life{serving: true, loading: true, settled: true}, event{kind: opened}, actRetire | actInstall, StateLoaded},
		{"unloaded meanwhile", life{loading: true, unloaded: true, settled: true}, event{kind: opened}, actDiscard, StateUnloaded},
		{"gone meanwhile", life{loading: true, gone: true, settled: true}, event{kind: opened}, actDiscard, StateAvailable},
		{"gone meanwhile, and failed", life{loading: true, gone: true}, event{kind: openFailed, err: errWalkFile}, 0, StateAvailable},
		{"asked for again", life{failed: file, unloaded: true, settled: true}, event{kind: asked}, 0, StateAvailable},
		{"asked for, while another runs", life{failed: machine, serving: true, settled: true}, event{kind: asked}, actLoad, StateLoaded},
		{"unloaded", life{serving: true, settled: true}, event{kind: dismissed}, actRetire, StateUnloaded},
		{"unloaded twice", life{unloaded: true, settled: true}, event{kind: dismissed}, 0, StateUnloaded},
		{"evicted", life{serving: true, settled: true, known: true}, event{kind: evicted}, actRetire, StateAvailable},
		{"loaded twice", life{loading: true, settled: true}, event{kind: started}, 0, StateLoading},
		{"loaded when gone", life{gone: true, settled: true}, event{kind: started}, 0, StateAvailable},
		{"an end of no load", life{settled: true}, event{kind: opened}, 0, StateAvailable},
		{"written to", life{serving: true, settled: true}, event{kind: seenWriting, err: catalog.ErrUnsettled}, 0, StateLoaded},
		{"written to at first", life{}, event{kind: seenWriting, err: catalog.ErrUnsettled}, 0, StateFailed},
		{"out of reach", life{settled: true}, event{kind: seenUnreadable, err: errWalkMachine}, 0, StateAvailable},
		{"broken, as before", life{failed: file}, event{kind: seenBroken, err: errors.New(errWalkFile.Error())}, 0, StateFailed},
	} {
		got, do := next(c.from, c.with)
		if do != c.do || got.state() != c.want {
			t.Errorf("%s: %s with actions %b, want %s with %b (%+v)", c.name, got.state(), do, c.want, c.do, got)
		}
	}
}
