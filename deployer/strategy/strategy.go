// Package strategy decides how a rollout continues. From the request and the
// observations it makes the next status and the desired state of the cluster. It is
// a pure function of its input: it knows no clock, no cluster and no metrics.
//
// deployer/controller makes the observations and applies the plan. deployer/gate
// evaluates the gates.
package strategy

import (
	"slices"
	"time"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// The states of a rollout.
const (
	StateIdle       = "Idle"       // nothing to do
	StateBlocked    = "Blocked"    // waits for an approval or another condition
	StateScaling    = "Scaling"    // waits for pods of the new revision
	StateShifting   = "Shifting"   // waits for the route to take the weight
	StateGating     = "Gating"     // holds the weight and watches the gates
	StateMeasuring  = "Measuring"  // waits for the figures of the gates
	StateVerifying  = "Verifying"  // holds the weight because requests do not follow it
	StatePaused     = "Paused"     // waits for a user
	StateRecovering = "Recovering" // moves traffic away from an aborted revision
	StateDraining   = "Draining"   // waits for requests of pods that will be removed
)

// Revision is what was observed of one revision's pods.
type Revision struct {
	Desired   int32  // replicas of its Deployment
	Ready     int32  // pods that are ready
	Endpoints int32  // ready pods that its EndpointSlices list as serving
	Pods      int32  // all pods, terminating ones included
	Problem   string // why its pods are not ready, such as ImagePullBackOff
	// Crashes counts by the UID of each present pod how often its host has ended with
	// an error and was started again. Pods without a crash are left out.
	Crashes map[string]int32
	// OOMKilled has the UIDs of the pods in Crashes whose host ended last because it had
	// used up its memory.
	OOMKilled map[string]bool
}

// Observed says whether requests follow the weights.
type Observed int

// The values of Observed.
const (
	Unknown Observed = iota // too few requests
	Matches
	Differs // they do not
)

// Gate is the combined result of the gates at the present step.
type Gate int

// The values of Gate.
const (
	NotRun Gate = iota // nobody has asked at this step
	Pass
	Fail
	Inconclusive // too few samples
	CannotTell   // no number of samples would show a difference
	Broken       // the figures cannot be had
)

// World holds the observations at one moment.
type World struct {
	Now       time.Time
	Spec      v1alpha1.ModelDeploymentSpec
	Status    v1alpha1.ModelDeploymentStatus
	Update    string              // the revision that Spec.Template requests
	Stable    int32               // desired replicas of the stable revision, from the autoscaler or Spec
	Revisions map[string]Revision // all revisions that have a Deployment
	Weights   map[string]int32    // present shares of traffic in the route, in percent; nil: there is no route
	Acked     bool                // the gateway has accepted the present route
	Ratio     bool                // the numbers of replicas split the traffic, because there is no Gateway
	Observed  Observed            // since the gateway accepted the present weights
	SplitSays string              // how requests are split
	Gate      Gate
	GateStep  int32  // the step for which the gates were evaluated
	GateSays  string // why the gates did not pass
	// StepRows is how many rows the new revision has scored at the present weight since
	// RowsFrom, when the controller began to count them, in whole microseconds. It is of
	// GateStep. If RowsFrom is zero, nobody has counted.
	StepRows int64
	RowsFrom time.Time
	// Blocked is what must happen before a rollout may begin, such as an approval or a
	// time in staging. It does not concern a rollout that has begun.
	Blocked   string
	Admission *v1alpha1.Admission // what the rollout is admitted with, if Blocked is empty
}

// Plan is the desired state.
type Plan struct {
	Status   v1alpha1.ModelDeploymentStatus
	Replicas map[string]int32  // by revision; a Deployment of any other revision is removed
	Weights  map[string]int32  // shares of traffic in percent, without zeros; empty: there are no pods
	Gates    bool              // the gates must be evaluated
	Outcomes map[string]string // final statuses of revisions
	// After is the time until the next evaluation if nothing else happens; 0: never.
	After time.Duration
}

// step is a share of traffic with the conditions for leaving it.
type step struct {
	weight int32
	full   bool // needs all replicas, whatever the weight
	gates  bool
	hold   time.Duration
	pause  bool
	// optional: too few samples do not stop the rollout.
	optional bool
	rows     int64 // that must be scored at this weight
}

// Defaults of a strategy.
const (
	DefaultDeadline = 10 * time.Minute
	DefaultWindow   = 5 * time.Minute
	DefaultDrain    = 10 * time.Second
	DefaultHold     = time.Minute
	DefaultPost     = 30 * time.Second // of a blue_green rollout, after the switch
	DefaultRestarts = 1
	DefaultOOMKills = 1
)

// steps returns the shares through which a strategy goes. The last one is all
// traffic. If hosts keep samples, rows are replayed to the new revision before it
// has traffic.
func steps(s v1alpha1.Strategy, replicas int32, samples bool) []step {
	gates := s.Gates == nil || !s.Gates.Disabled
	var out []step
	replay := gates && samples
	switch s.Type {
	case v1alpha1.Canary:
		if replay {
			out = append(out, step{gates: true})
		}
		all := s.Steps
		if len(all) == 0 {
			all = []v1alpha1.Step{{Weight: 10}, {Weight: 25}, {Weight: 50}}
		}
		for _, c := range all {
			hold := DefaultHold
			if c.Hold != nil {
				hold = c.Hold.Duration
			}
			if c.Weight < 100 {
				out = append(out, step{weight: c.Weight, gates: gates && c.Weight > 0, hold: hold, pause: c.Pause, rows: c.MinSamples})
			}
		}
		out = append(out, step{weight: 100, full: true})
	case v1alpha1.BlueGreen:
		out = []step{{weight: 0, full: true, gates: replay}, {weight: 100, full: true, gates: gates, optional: true, hold: postHold(gates)}}
	case v1alpha1.Rolling:
		n := max(1, replicas)
		surge := min(n, surgeOf(s, n))
		for k := surge; k < n; k += surge {
			out = append(out, step{weight: 100 * k / n})
		}
		out = append(out, step{weight: 100, full: true})
	default: // direct
		out = []step{{weight: 100, full: true}}
	}
	return out
}

func postHold(gates bool) time.Duration {
	if gates {
		return DefaultPost
	}
	return 0
}

// surgeOf returns how many pods of a new revision may start at once.
func surgeOf(s v1alpha1.Strategy, replicas int32) int32 {
	if s.MaxSurge > 0 {
		return s.MaxSurge
	}
	return (replicas + 3) / 4
}

// replicasFor returns how many pods a share of traffic needs, if all traffic needs
// all pods.
func replicasFor(weight, all int32, ratio bool) int32 {
	switch {
	case all == 0:
		return 0
	case weight >= 100:
		return all
	case ratio && weight > 0: // in addition to all stable pods
		return max(1, min(all, (all*weight+(100-weight)/2)/(100-weight)))
	}
	return max(1, (all*weight+99)/100)
}

// The gates that the strategy evaluates itself.
const (
	gateRestarts = "restarts"
	gateOOMKills = "oom-kills"
)

// watches reports whether one of these gates may end a rollout.
func watches(s v1alpha1.Strategy, gate string) bool {
	return s.Gates == nil || (!s.Gates.Disabled && !slices.Contains(s.Gates.Skip, gate))
}

// restarts returns how many crashes of hosts a rollout survives.
func restarts(s v1alpha1.Strategy) int32 {
	if s.Gates != nil && s.Gates.Restarts != nil {
		return *s.Gates.Restarts
	}
	return DefaultRestarts
}

// oomKills returns how often hosts may use up their memory in a rollout.
func oomKills(s v1alpha1.Strategy) int32 {
	if s.Gates != nil && s.Gates.OOMKills != nil {
		return *s.Gates.OOMKills
	}
	return DefaultOOMKills
}

func deadline(s v1alpha1.Strategy) time.Duration {
	if s.Deadline != nil {
		return s.Deadline.Duration
	}
	return DefaultDeadline
}

func drain(s v1alpha1.Strategy) time.Duration {
	if s.Drain != nil {
		return s.Drain.Duration
	}
	return DefaultDrain
}

func window(s v1alpha1.Strategy) time.Duration {
	if s.Type != v1alpha1.BlueGreen {
		return drain(s)
	}
	if s.Window != nil {
		return s.Window.Duration
	}
	return DefaultWindow
}
