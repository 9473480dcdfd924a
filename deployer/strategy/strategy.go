// Package strategy decides how a rollout goes on: from what is asked for and what was
// seen it makes the next status and what the cluster should look like. It is a pure
// function of its input: it knows no clock, no cluster and no metrics.
//
// What is seen is gathered, and what is planned is done, in deployer/controller; what
// gates say is computed in deployer/gate.
package strategy

import (
	"time"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// The states of a rollout.
const (
	StateIdle       = "Idle"       // nothing to do
	StateBlocked    = "Blocked"    // waits for an approval or another condition
	StateScaling    = "Scaling"    // waits for pods of the new revision
	StateShifting   = "Shifting"   // waits for the route to take the weight
	StateVerifying  = "Verifying"  // waits for requests to follow the weight
	StateGating     = "Gating"     // holds the weight and watches the gates
	StatePaused     = "Paused"     // waits for somebody
	StateRecovering = "Recovering" // takes traffic away from a revision that was given up
	StateDraining   = "Draining"   // waits for requests to the pods that go
)

// Revision is what was seen of one revision's pods.
type Revision struct {
	Desired   int32  // replicas that its Deployment asks for
	Ready     int32  // pods that are ready
	Endpoints int32  // of those, the ones that its EndpointSlices list as serving
	Pods      int32  // pods there are, terminating ones too
	Problem   string // what its pods wait for, such as ImagePullBackOff
}

// Observed says whether the hosts' own counters agree with the weights.
type Observed int

// What the counters say.
const (
	Unknown Observed = iota // too few requests
	Matches
	Differs
)

// Gate is what the gates of the present step say together.
type Gate int

// The outcomes of gates.
const (
	NotRun Gate = iota
	Pass
	Fail
	Inconclusive // too few samples
	CannotTell   // no number of samples would show a difference
	Broken       // the figures cannot be had
)

// World is what was seen at one moment.
type World struct {
	Now       time.Time
	Spec      v1alpha1.ModelDeploymentSpec
	Status    v1alpha1.ModelDeploymentStatus
	Update    string              // the revision that Spec.Template asks for
	Stable    int32               // replicas that the stable revision should have: the autoscaler's or Spec's
	Revisions map[string]Revision // of all that have a Deployment
	Weights   map[string]int32    // shares of traffic as the route has them now, in percent; nil: there is no route
	Acked     bool                // the gateway has taken the route as it is now
	Ratio     bool                // the ratio of replicas splits the traffic: there is no Gateway
	Observed  Observed
	Gate      Gate
	GateStep  int32               // the step that the gates were evaluated at
	GateSays  string              // why it did not pass
	Blocked   string              // what has to happen before the rollout may begin
	Admission *v1alpha1.Admission // what it is let in as where nothing has to
}

// Plan is what should be.
type Plan struct {
	Status   v1alpha1.ModelDeploymentStatus
	Replicas map[string]int32  // of each revision that should have a Deployment; the others go
	Weights  map[string]int32  // shares of traffic in percent, without zeros; empty: nobody is there to take it
	Gates    bool              // figures for the gates are needed
	Outcomes map[string]string // what became of revisions: the statuses of deployments
	// After is when it is worth looking again where nothing else happens; 0: never.
	After time.Duration
}

// step is a share of traffic and what it takes to leave it.
type step struct {
	weight int32
	full   bool // needs all replicas, whatever the weight
	gates  bool
	hold   time.Duration
	pause  bool
	// optional: too few samples are no reason to wait.
	optional bool
}

// Defaults of a strategy.
const (
	DefaultDeadline = 10 * time.Minute
	DefaultWindow   = 5 * time.Minute
	DefaultDrain    = 10 * time.Second
	DefaultHold     = time.Minute
	DefaultPost     = 30 * time.Second // of a blue_green rollout, after the switch
)

// steps are the shares that a strategy goes through; the last one is all.
// Where hosts keep samples, rows are replayed to the new revision before it has traffic.
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
				out = append(out, step{weight: c.Weight, gates: gates && c.Weight > 0, hold: hold, pause: c.Pause})
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

// surgeOf is how many pods of a new revision are started at once.
func surgeOf(s v1alpha1.Strategy, replicas int32) int32 {
	if s.MaxSurge > 0 {
		return s.MaxSurge
	}
	return (replicas + 3) / 4
}

// replicasFor is how many pods a share of traffic needs, of so many for all of it.
func replicasFor(weight, all int32, ratio bool) int32 {
	switch {
	case all == 0:
		return 0
	case weight >= 100:
		return all
	case ratio && weight > 0: // beside all of the stable ones
		return max(1, min(all, (all*weight+(100-weight)/2)/(100-weight)))
	}
	return max(1, (all*weight+99)/100)
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
