package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pynomaly/pynomaly-runtime/deployer/gate"
	"github.com/pynomaly/pynomaly-runtime/deployer/gatewaymetrics"
	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// digest asks a revision's pods, until one answers, which contents it serves.
func (r *Reconciler) digest(ctx context.Context, rev *v1alpha1.ModelRevision, pods []corev1.Pod) string {
	if d := rev.Spec.Template.Model.Digest; d != "" {
		return d // its pods would not be ready otherwise
	}
	for i := range pods {
		if !isReady(&pods[i]) {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		m := rev.Spec.Template.Model
		d, err := r.Figures.Digest(ctx, hostOf(&pods[i]), m.ID, m.Version)
		cancel()
		if err == nil {
			return d
		}
		r.Log.Warn("a host does not answer which contents it serves", "pod", pods[i].Name, "error", err)
	}
	return ""
}

// Comparisons remembers, for each rollout under way, what both sides had counted
// when it began. A restarted controller counts from its start.
type Comparisons struct {
	mu  sync.Mutex
	all map[types.UID]*comparison
}

type comparison struct {
	alone          string // why the new revision is not compared; empty: it is
	update, stable string
	sides          map[string]*gate.Tracker
	look           gate.Look
	began          time.Time
	waits          bool // the new revision has had no traffic yet
	shadow         shadow
	requests       map[string]gate.Sample // from Prometheus
	verdicts       []gate.Verdict
	step           int32
	weights        map[string]int32         // those for which split counts
	split          map[string]*gate.Tracker // since the gateway accepted them
	rows           *gate.Tracker            // of the new revision, since its weight is in force at the step
	rowsAt         int32                    // that step
	rowsFrom       time.Time                // when rows began to count
	gateway        *gatewaymetrics.Tracker  // nil: it was not asked yet
	movedAt        time.Time                // when Services last got other names in the gateway's metrics
	targets        [2]gatewaymetrics.Target // that were last read
	counted        map[string]*gate.Gateway // by revision, what the gateway has counted; nil: not known
}

// NewComparisons returns an empty Comparisons.
func NewComparisons() *Comparisons { return &Comparisons{all: map[types.UID]*comparison{}} }

func (c *Comparisons) of(md *v1alpha1.ModelDeployment, now time.Time) *comparison {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &md.Status
	if k := c.all[md.UID]; k != nil && k.update == s.Update && k.stable == s.Stable {
		return k
	}
	k := &comparison{update: s.Update, stable: s.Stable}
	k.restart(md, now)
	c.all[md.UID] = k
	return k
}

// restart counts from now on.
func (k *comparison) restart(md *v1alpha1.ModelDeployment, now time.Time) {
	k.began, k.waits = now, false
	k.sides = map[string]*gate.Tracker{k.update: gate.NewTracker(now), k.stable: gate.NewTracker(stableFrom(md, now))}
}

// forget drops the comparison of a deployment that is deleted or finished.
func (c *Comparisons) forget(uid types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, uid)
}

// settle forgets the comparison of a rollout that has ended. While the new revision has no
// weight, because none of its pods is ready, no request can follow the weight that it had:
// how they are split counts anew from when it has one again.
func (c *Comparisons) settle(uid types.UID, ended bool, weight int32) {
	if ended {
		c.forget(uid)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.all[uid]; k != nil && weight == 0 {
		k.split = nil
	}
}

const (
	askTimeout = 3 * time.Second
	askAtOnce  = 16
)

// figures reads the counters of both revisions' hosts, and evaluates the gates.
func (r *Reconciler) figures(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, all []v1alpha1.ModelRevision) {
	k := r.Comparisons.of(md, r.Now())
	versions := map[string]string{}
	for i := range all {
		versions[all[i].Spec.Hash] = all[i].Spec.Template.Model.Version
	}
	w := &seen.world
	w.GateStep = md.Status.Rollout.Step
	var failed error
	why := alone(md, seen, k)
	changed := (why == "") != (k.alone == "")
	k.alone = why
	replayed := k.replayed(r.shadow(ctx, md, seen, k, all))
	if w.Weights[k.update] == 0 { // without traffic there is nothing else to compare
		k.waits, k.split = true, nil // requests follow a weight of 0, too
		w.Gate, w.GateSays = gateOf(gate.Together(replayed))
		r.tell(md, seen, replayed)
		return
	}
	if k.waits {
		k.restart(md, r.Now())
		k.gateway = gatewaymetrics.NewTracker(k.began, stableFrom(md, k.began))
	}
	for hash, side := range k.sides {
		pods, err := r.ask(ctx, md.Spec.Template.Model.ID, versions[hash], seen.pods[hash])
		if err != nil && (k.alone == "" || hash == k.update) {
			failed = errors.Join(failed, err)
		}
		side.Update(pods)
		if k.split[hash] != nil {
			k.split[hash].Update(pods)
		}
		if hash == k.update && k.rows != nil {
			k.rows.Update(pods)
		}
	}
	k.atStep(w, r.Now())
	if failed != nil {
		r.without(md, seen, replayed, "figures", failed)
		return
	}
	if r.Prometheus != nil {
		// The hosts' counters are judged in any case.
		replayed = append(replayed, r.observed(ctx, md, k)...)
	}
	replayed = append(replayed, r.atGateway(ctx, md, seen, k)...)
	split := r.ratio(seen, k)
	update, stable := k.sum(k.update), k.sum(k.stable)
	seen.figures = figuresOf(update)
	n := update.Seen()
	limits := limitsOf(md.Spec.Strategy.Gates)
	if k.verdicts == nil || k.look.Due(n) || k.step != md.Status.Rollout.Step || changed {
		k.look, k.step = k.look.Next(n), md.Status.Rollout.Step
		k.verdicts = k.evaluate(limits, stable, update)
	}
	verdicts := append(slices.Clone(k.verdicts), replayed...)
	w.Gate, w.GateSays = gateOf(gate.Together(verdicts))
	r.tell(md, seen, append(verdicts, split...))
}

// atStep counts the rows that the new revision has scored at its step, from when the
// weight is in force.
func (k *comparison) atStep(w *strategy.World, now time.Time) {
	if k.rows == nil || k.rowsAt != w.GateStep || !w.Acked {
		k.rowsFrom = now.Truncate(time.Microsecond) // as the status keeps it
		k.rows, k.rowsAt = gate.NewTracker(k.rowsFrom), w.GateStep
	}
	w.StepRows, w.RowsFrom = k.rows.Sum().Rows, k.rowsFrom
}

// without reports that there are no counters. The verdicts of replayed rows remain.
func (r *Reconciler) without(md *v1alpha1.ModelDeployment, seen *sight, replayed []gate.Verdict, what string, err error) {
	verdicts := append(slices.Clone(replayed), gate.Verdict{Gate: what, Result: gate.Error, Message: fmt.Sprintf("%.300s", err.Error())})
	seen.world.Gate, seen.world.GateSays = gateOf(gate.Together(verdicts))
	r.tell(md, seen, verdicts)
}

func gateOf(result gate.Result, says string) (strategy.Gate, string) {
	return map[gate.Result]strategy.Gate{
		gate.Pass: strategy.Pass, gate.Fail: strategy.Fail, gate.Inconclusive: strategy.Inconclusive, gate.CannotTell: strategy.CannotTell, gate.Error: strategy.Broken,
	}[result], says
}

// ratio compares how requests were split since the gateway accepted the present
// weights. If the split is off, the rollout waits, because nobody knows how many
// requests a further step would move.
func (r *Reconciler) ratio(seen *sight, k *comparison) []gate.Verdict {
	w := &seen.world
	if w.Ratio || !w.Acked {
		k.split = nil
		return nil
	}
	if k.split == nil || !maps.Equal(k.weights, w.Weights) {
		k.weights = maps.Clone(w.Weights)
		k.split = map[string]*gate.Tracker{k.update: gate.NewTracker(r.Now()), k.stable: gate.NewTracker(r.Now())}
		return nil
	}
	u, s := k.split[k.update].Sum(), k.split[k.stable].Sum()
	got, other := u.Requests+u.Errors, s.Requests+s.Errors
	if got+other < minSplit {
		return nil
	}
	const alpha = 1e-6 // the test runs often, and a failure means that something is broken
	differ, chi2 := gate.Ratio(got, other, w.Weights[k.update], alpha)
	w.Observed = strategy.Matches
	share := 100 * float64(got) / float64(got+other)
	v := gate.Verdict{
		Gate: "sample-ratio", Result: gate.Pass, N: got + other, Statistic: share - float64(w.Weights[k.update]), Limit: maxOff,
		Message: fmt.Sprintf("%.1f %% of the requests, planned %d %% (chi-square %.1f)", share, w.Weights[k.update], chi2),
	}
	if differ && math.Abs(v.Statistic) > maxOff {
		w.Observed, v.Result = strategy.Differs, gate.Fail
		w.SplitSays = fmt.Sprintf("%.0f %% of the requests, where %d %% are planned; clients that keep their connections or name a version stay where they are%s%s", share, w.Weights[k.update], stuckTo(u, s), k.beside())
	}
	return []gate.Verdict{v}
}

const (
	minSplit = 200
	maxOff   = 3 // percentage points
)

// figuresEvery is how often figures of gates are written to the status while their results
// stay the same, and how often hosts are asked for them. Each write causes another
// evaluation, which would find more requests.
const figuresEvery = time.Second

// tell puts the verdicts into the status. It reports only those that have changed.
func (r *Reconciler) tell(md *v1alpha1.ModelDeployment, seen *sight, verdicts []gate.Verdict) {
	before := map[string]v1alpha1.Verdict{}
	for _, v := range md.Status.Verdicts {
		before[v.Gate] = v
	}
	for _, v := range verdicts {
		out := v1alpha1.Verdict{
			Gate: v.Gate, Result: string(v.Result), N: v.N, Statistic: strconv.FormatFloat(v.Statistic, 'g', 4, 64),
			Limit: strconv.FormatFloat(v.Limit, 'g', 4, 64), Message: v.Message, Time: metav1.NewTime(r.Now()),
		}
		b, known := before[v.Gate]
		age := out.Time.Sub(b.Time.Time)
		if known && b.Result == out.Result && (b.N == out.N && b.Statistic == out.Statistic || age >= 0 && age < figuresEvery) {
			out = b
		}
		seen.verdicts = append(seen.verdicts, out)
		if !known || b.Result != out.Result {
			seen.told = append(seen.told, out)
		}
	}
}

// ask reads the counters of pods, of at most askAtOnce at a time.
func (r *Reconciler) ask(ctx context.Context, model, version string, pods []corev1.Pod) ([]gate.Pod, error) {
	var mu sync.Mutex
	var out []gate.Pod
	var errs error
	var wg sync.WaitGroup
	slots := make(chan struct{}, askAtOnce)
	for i := range pods {
		p := &pods[i]
		if !isReady(p) || p.Status.PodIP == "" {
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			s, err := r.Figures.Stats(ctx, hostOf(p), model, version)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = errors.Join(errs, err)
				return
			}
			out = append(out, gate.Pod{UID: string(p.UID), Start: s.ProcessStartTime, Stats: gate.FromStats(s)})
		})
	}
	wg.Wait()
	return out, errs
}

func limitsOf(g *v1alpha1.Gates) gate.Limits {
	l := gate.Defaults()
	if g == nil {
		return l
	}
	l.Skip = g.Skip
	if g.MinSamples > 0 {
		l.MinSamples = g.MinSamples
	}
	for _, p := range []struct {
		from *int32
		to   *float64
		unit float64
	}{{g.ErrorPercent, &l.Errors, 100}, {g.AnomalyPercent, &l.Anomalies, 100}, {g.LatencyPercent, &l.Latency, 100}, {g.LatencyMillis, &l.Slower, 1000}, {g.PSIThousandths, &l.PSI, 1000}, {g.DisagreePercent, &l.Disagree, 100}, {g.RankPercent, &l.Rank, 100}} {
		if p.from != nil {
			*p.to = float64(*p.from) / p.unit
		}
	}
	return l
}
