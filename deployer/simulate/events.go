package simulate

import (
	"maps"
	"time"

	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// happen lets something happen now and then.
func (w *Walk) happen() {
	if !w.chance(12) {
		return
	}
	if w.mild || w.chance(60) {
		w.weather()
		return
	}
	w.people()
}

// outage begins an outage, unless another one has just ended.
func (w *Walk) outage(most int) bool {
	if w.mild && w.Now.Before(w.calmAt.Add(time.Minute)) {
		return false
	}
	w.calmAt = w.Now.Add(w.seconds(most))
	return true
}

// weather is what happens to a cluster, and what hands change in it.
func (w *Walk) weather() {
	long := 10
	if !w.mild {
		long = 200
	}
	switch w.random.IntN(17) {
	case 0, 1:
		if name := pick(w, w.Update, w.Status.Stable); !w.mild || (!w.Serial && w.outage(1)) {
			w.Lose(name, 1+int32(w.random.IntN(9)))
		}
	case 2:
		if w.mild && !w.outage(1) {
			return
		}
		w.Spec.Replicas = int32(1 + w.random.IntN(9)) // an autoscaler, or an operator
	case 3:
		if w.outage(long) {
			w.figures = false
		}
	case 4:
		if w.outage(long) {
			w.Ack = w.calmAt.Sub(w.Now)
		}
	case 5:
		w.hands()
	case 6:
		w.Skew += pick(w, time.Hour, -time.Hour, 10*time.Second, -10*time.Second)
	case 7: // the clock stands still
		d := w.seconds(20)
		w.Skew -= d
		w.pass(d)
	case 8: // nobody looks: the API server does not answer
		w.pass(w.seconds(300))
	case 9:
		w.Blocked = pick(w, "", "staging is not healthy", "waits for an approval")
	case 10:
		w.Observed = strategy.Observed(w.random.IntN(3))
	case 11:
		w.few = !w.few
	case 12:
		w.blind = !w.blind
	case 14:
		w.scarce = !w.scarce
	case 15, 16: // for a time nobody else can answer
		if s := w.Status.Stable; s != "" && !w.mild {
			delete(w.Broken, w.dead)
			w.dead, w.backAt, w.Broken[s] = s, w.Now.Add(w.seconds(120)), true
		}
	case 13:
		if w.mild && !w.all[w.Update].good { // whoever looks at it does not
			return
		}
		w.Spec.Resume = &v1alpha1.StepOf{Revision: pick(w, w.Update, w.Update, w.Status.Stable), Step: w.Status.Rollout.Step}
	}
}

// hands change what the controller has set.
func (w *Walk) hands() {
	if w.mild && (w.Serial || !w.outage(1)) {
		return // pods come back one by one, or again and again, which may take longer than the deadline
	}
	switch w.random.IntN(4) {
	case 0:
		if s := w.Status.Stable; s != "" && w.Update != s {
			n := int32(w.random.IntN(101))
			all := map[string]int32{w.Update: n, s: 100 - n}
			maps.DeleteFunc(all, func(_ string, n int32) bool { return n == 0 })
			w.SetWeights(all)
		}
	case 1:
		if _, ok := w.desired[w.Status.Stable]; ok {
			w.scale(w.Status.Stable, int32(w.random.IntN(10)))
		}
	case 2:
		if _, ok := w.desired[w.Update]; ok {
			w.scale(w.Update, int32(w.random.IntN(10)))
		}
	case 3: // a Deployment is deleted
		name := pick(w, w.Update, w.Status.Stable)
		if _, ok := w.desired[name]; ok {
			w.scale(name, 0)
			delete(w.desired, name)
		}
	}
}

// people change their minds.
func (w *Walk) people() {
	switch w.random.IntN(11) {
	case 0, 1:
		w.ask(w.fresh())
	case 2:
		if s := w.Status.Stable; s != "" { // undo
			w.ask(s)
		}
	case 3:
		w.Spec.Abort = w.Update
	case 4, 5:
		w.Spec.Paused = !w.Spec.Paused
	case 6:
		w.Spec.Promote = w.Update
	case 7:
		if old := w.Status.Rollout.Old; old != "" && w.Status.Stable != "" {
			from := w.Status.Stable
			w.ask(old)
			if w.chance(50) {
				w.Spec.RollbackOf = from
			}
		}
	case 8:
		w.Spec.Strategy = w.strategy()
	case 9: // try again
		w.ask(w.Update)
		w.Spec.Attempt++
	case 10:
		w.Broken[w.Update] = !w.Broken[w.Update]
	}
}
