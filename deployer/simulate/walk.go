package simulate

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// quality says what becomes of a revision under requests.
type quality struct {
	good    bool
	failing time.Duration // a gate fails after so much time with traffic; 0: none does
	crashes time.Duration // hosts end after so much time; 0: never
	oom     bool          // because they use up their memory
}

// Walk is a walk through the world of rollouts: pods die and return, an autoscaler
// and people change what the controller has set, clocks stand still and jump,
// controllers die between any two writes, and everybody changes their mind. Rules
// are checked at every plan.
type Walk struct {
	*Cluster
	random  *rand.Rand
	rules   rules
	mild    bool // nothing happens that should end the rollout of a good version
	all     map[string]*quality
	exposed map[string]time.Duration
	aged    map[string]time.Duration // of a revision's hosts
	names   int
	calmAt  time.Time // when the present outage ends
	figures bool      // the hosts' figures can be had
	few     bool      // there are too few samples
	blind   bool      // a gate cannot tell
	scarce  bool      // there are hardly any rows at a step
	dead    string    // a revision without ready pods until backAt
	backAt  time.Time
	judged  int64 // Rows when gates were last asked for
	before  int64 // rows that controllers counted at the step before they were restarted
	Steps   int   // evaluations so far
	Ends    map[string]int
	// Next makes the plans.
	Next func(strategy.World) strategy.Plan
	// Trace, if set, is told of each plan.
	Trace func(format string, args ...any)
}

// NewWalk returns a walk that depends on seed alone.
func NewWalk(seed uint64) *Walk {
	return &Walk{random: rand.New(rand.NewPCG(seed, 0)), Ends: map[string]int{}, Next: strategy.Next}
}

func (w *Walk) chance(percent int) bool { return w.random.IntN(100) < percent }

func (w *Walk) seconds(most int) time.Duration {
	return time.Duration(w.random.IntN(most*10+1)) * 100 * time.Millisecond
}

func pick[T any](w *Walk, all ...T) T { return all[w.random.IntN(len(all))] }

func duration(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

// Episode rolls some revisions out in a new cluster, lets it calm down, and returns
// which rule was broken.
func (w *Walk) Episode() error {
	w.begin()
	if w.mild || w.chance(80) {
		if err := w.settle(400); err != nil {
			return fmt.Errorf("the first deployment: %w", err)
		}
		w.ask(w.fresh())
	}
	for range 40 + w.random.IntN(160) {
		if w.mild && w.over() {
			break
		}
		w.happen()
		if err := w.evaluate(); err != nil {
			return err
		}
	}
	w.calm()
	if err := w.settle(6000); err != nil {
		return err
	}
	return w.judge()
}

// begin makes a new cluster with a strategy.
func (w *Walk) begin() {
	w.Cluster = NewCluster(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	w.mild = w.chance(60)
	w.all, w.exposed, w.aged = map[string]*quality{}, map[string]time.Duration{}, map[string]time.Duration{}
	w.figures, w.few, w.blind, w.scarce = true, false, false, false
	w.calmAt, w.dead = w.Now, ""
	w.count()
	w.rules = rules{}
	w.Start, w.Stop, w.Ack = time.Second+w.seconds(8), w.seconds(5), w.seconds(4)
	w.Ratio, w.Serial = w.chance(15), w.chance(20)
	if w.Serial { // a deadline is longer than a pod takes, and shorter than all of them
		w.Start = min(w.Start, 6*time.Second)
	}
	w.Spec = v1alpha1.ModelDeploymentSpec{Replicas: int32(1 + w.random.IntN(9)), Strategy: w.strategy()}
	w.Spec.Template.Samples = int32(w.random.IntN(2))
	w.Update = w.fresh()
	w.all[w.Update].good, w.all[w.Update].crashes = true, 0
}

func (w *Walk) strategy() v1alpha1.Strategy {
	s := v1alpha1.Strategy{
		Type:     pick(w, v1alpha1.Canary, v1alpha1.Canary, v1alpha1.Canary, v1alpha1.Rolling, v1alpha1.BlueGreen, v1alpha1.Direct),
		Deadline: duration(45*time.Second + w.seconds(60)), Drain: duration(w.seconds(10)), Window: duration(w.seconds(30)),
	}
	if s.Type == v1alpha1.Canary {
		weight := int32(0)
		for range 1 + w.random.IntN(3) {
			weight = min(100, weight+5+int32(w.random.IntN(40)))
			s.Steps = append(s.Steps, v1alpha1.Step{Weight: weight, Hold: duration(pick(w, 0, w.seconds(20), 30*time.Second+w.seconds(400))), Pause: w.chance(10), MinSamples: pick[int64](w, 0, 0, 50)})
		}
	}
	if w.chance(20) {
		s.Gates = &v1alpha1.Gates{Disabled: w.chance(20)}
		if w.chance(30) {
			s.Gates.Inconclusive = "proceed"
		}
		if w.chance(20) {
			s.Gates.Skip = pick(w, []string{"restarts"}, []string{"oom-kills"}, []string{"restarts", "oom-kills"})
		}
	}
	return s
}

// fresh returns a new revision.
func (w *Walk) fresh() string {
	w.names++
	name := fmt.Sprintf("r%d", w.names)
	q := &quality{}
	switch w.random.IntN(5) {
	case 0:
		q.failing = time.Second + w.seconds(15)
	case 1:
		q.crashes, q.oom = 5*time.Second+w.seconds(60), w.chance(50)
	default:
		q.good = true
	}
	w.all[name] = q
	return name
}

// ask requests a revision, as the commands do.
func (w *Walk) ask(name string) {
	w.Update = name
	w.Spec.Abort, w.Spec.Promote, w.Spec.RollbackOf, w.Spec.Resume, w.Spec.Paused = "", "", "", nil, false
	w.Observed, w.few, w.blind, w.scarce = strategy.Unknown, false, false, false
}

// over reports whether the present rollout has ended.
func (w *Walk) over() bool {
	return w.Status.Update == w.Update && w.Status.Rollout.State == strategy.StateIdle
}

// evaluate makes one plan, checks it and carries it out, or some of it.
func (w *Walk) evaluate() error {
	w.Steps++
	w.figure()
	world := w.World()
	if w.chance(3) { // a plan without figures, as the first of two
		world.Gate = strategy.NotRun
	}
	plan := w.Next(world)
	lines := Lines
	if w.chance(4) {
		lines = w.random.IntN(Lines)
	}
	if ro := &plan.Status.Rollout; w.Trace != nil {
		w.Trace("%s %s step %d, %s: %s; weights %v, planned %v of %v, pods %v; held %s, waited %s, served %s; rows %d+%d since %s, kept %v; %d lines", world.Now.Format("15:04:05.0"), plan.Status.Update, ro.Step, ro.State, plan.Status.Message,
			world.Weights, plan.Weights, plan.Replicas, world.Revisions, ro.Held.Duration, ro.Waited.Duration, ro.Served.Duration, w.before, w.Rows, w.RowsFrom.Format("15:04:05.0"), ro.Rows, lines)
	}
	if err := w.rules.check(w, world, plan, lines > 0); err != nil {
		return fmt.Errorf("%w\nbefore: %+v\nspec: %+v\nstatus: %+v\nplan: %+v", err, world, world.Spec, world.Status.Rollout, plan)
	}
	if w.Status.Rollout.State != strategy.StateIdle && plan.Status.Rollout.State == strategy.StateIdle {
		w.Ends[plan.Status.Phase]++
	}
	was := w.Status
	w.Apply(plan, lines)
	if lines > 0 {
		w.counted(&was, world.StepRows, plan.Gates)
	}
	d := min(max(plan.After, 100*time.Millisecond), 5*time.Second)
	if plan.After == 0 {
		d = time.Second
	}
	if w.chance(30) { // something has notified the controller
		d = min(d, w.seconds(2))
	}
	w.pass(d)
	return nil
}

// figure sets what the gates say.
func (w *Walk) figure() {
	q := w.all[w.Update]
	switch {
	case !w.figures:
		w.Gate = strategy.Broken
	case q.failing > 0 && w.exposed[w.Update] >= q.failing:
		w.Gate, w.GateSays = strategy.Fail, "it is worse"
	case q.failing > 0 && w.Weights[w.Update] > 0, w.few:
		w.Gate = strategy.Inconclusive
	case w.blind:
		w.Gate = strategy.CannotTell
	default:
		w.Gate = strategy.Pass
	}
}

// counted follows what the controller has counted at a step after a plan was written, and
// restarts the controller now and then.
func (w *Walk) counted(was *v1alpha1.ModelDeploymentStatus, rows int64, asked bool) {
	if a, b := &was.Rollout, &w.Status.Rollout; was.Update != w.Status.Update || a.Step != b.Step || !a.Begun.Equal(b.Begun) {
		w.count()
		return
	}
	if asked {
		w.judged = rows
	}
	if w.chance(5) {
		w.before += w.judged
		w.judged, w.Rows, w.RowsFrom = 0, 0, w.Now
	}
}

// count begins to count the rows of a step.
func (w *Walk) count() { w.before, w.judged, w.Rows, w.RowsFrom = 0, 0, 0, w.Now }

// pass lets time pass, and hosts crash.
func (w *Walk) pass(d time.Duration) {
	if w.Weights[w.Update] > 0 {
		w.exposed[w.Update] += d
		if w.scarce {
			w.Rows += int64(w.random.IntN(2))
		} else {
			w.Rows += int64(d / (200 * time.Millisecond))
		}
	}
	if q := w.all[w.Update]; q.crashes > 0 && w.desired[w.Update] > 0 {
		if w.aged[w.Update] += d; w.aged[w.Update] >= q.crashes {
			w.aged[w.Update] = 0
			w.Crash(w.Update, 0, q.oom)
		}
	}
	w.Advance(d)
	if w.dead != "" && !w.backAt.After(w.Now) {
		delete(w.Broken, w.dead)
		w.dead = ""
	}
	if !w.calmAt.After(w.Now) {
		w.figures, w.Ack = true, min(w.Ack, 4*time.Second)
	}
}

// calm ends everything that disturbs.
func (w *Walk) calm() {
	clear(w.Broken)
	if w.Status.Stable == "" { // a first revision that crashes and serves goes on for ever
		w.all[w.Update].crashes = 0
	}
	w.figures, w.few, w.blind, w.scarce, w.Blocked, w.Observed = true, false, false, false, "", strategy.Matches
	w.Spec.Paused, w.Spec.Replicas, w.Ack = false, max(1, w.Spec.Replicas), min(w.Ack, 4*time.Second)
}

// settle evaluates until nothing remains to do.
func (w *Walk) settle(most int) error {
	for range most {
		if err := w.evaluate(); err != nil {
			return err
		}
		if w.Status.Stable == w.Update { // what crashes after the rollout is another matter
			w.all[w.Update].crashes = 0
		}
		if strings.Contains(w.Status.Message, "waits for `deploy resume`") {
			w.Spec.Resume = &v1alpha1.StepOf{Revision: w.Update, Step: w.Status.Rollout.Step}
		}
		if !w.over() {
			continue
		}
		now := w.World()
		if w.Status.Stable == "" || (len(now.Revisions) == 1 && now.Acked && maps.Equal(w.Weights, map[string]int32{w.Status.Stable: 100}) && now.Revisions[w.Status.Stable].Endpoints == w.Spec.Replicas) {
			return nil
		}
	}
	return fmt.Errorf("the rollout never ends: %+v, weights %v, revisions %v", w.Status, w.Weights, w.World().Revisions)
}

// judge checks how the last rollout ended.
func (w *Walk) judge() error {
	q, s := w.all[w.Update], &w.Status
	promoted := s.Stable == w.Update
	if !w.mild {
		return nil
	}
	g := w.Spec.Strategy.Gates
	gated := g == nil || (!g.Disabled && g.Inconclusive == "")
	steps := w.Spec.Strategy.Type == v1alpha1.Canary || w.Spec.Strategy.Type == v1alpha1.BlueGreen
	switch {
	case q.good && !promoted:
		return fmt.Errorf("a good revision ended as %s: %s", s.Phase, s.Message)
	case q.failing > 0 && promoted && gated && w.Spec.Strategy.Type == v1alpha1.Canary:
		return fmt.Errorf("a revision that is worse was promoted by %+v", w.Spec.Strategy)
	case q.failing > 0 && promoted && gated && steps && w.exposed[w.Update] > q.failing+15*time.Second:
		return fmt.Errorf("a revision that is worse was promoted %s after that was found", w.exposed[w.Update])
	}
	return nil
}
