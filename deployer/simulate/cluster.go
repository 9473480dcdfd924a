// Package simulate runs rollouts of deployer/strategy without a cluster: with slow
// or broken pods, a slow gateway, clocks that jump, users who change their minds,
// and new models that are worse.
//
// Only tests and `make simulate` use it.
package simulate

import (
	"maps"
	"strconv"
	"time"

	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// Cluster is the state that a controller would see and change.
type Cluster struct {
	Now       time.Time
	Skew      time.Duration // of the controller's clock
	Spec      v1alpha1.ModelDeploymentSpec
	Status    v1alpha1.ModelDeploymentStatus
	Update    string
	Ratio     bool
	Blocked   string
	Admission *v1alpha1.Admission
	Start     time.Duration   // from a pod's creation until it is ready
	Serial    bool            // one pod after the other starts, as where nodes must be made
	Stop      time.Duration   // from a pod's deletion until it is gone
	Ack       time.Duration   // from a change of weights until the gateway has accepted it
	Broken    map[string]bool // revisions whose pods never get ready
	Gate      strategy.Gate
	GateSays  string
	Observed  strategy.Observed
	Rows      int64     // that the new revision has scored at its weight since RowsFrom
	RowsFrom  time.Time // when the controller began to count them

	Outcomes map[string]string
	Weights  map[string]int32
	InForce  map[string]int32 // the weights that the gateway last accepted
	ackAt    time.Time
	pods     map[string][]pod
	desired  map[string]int32
	named    int
}

type pod struct {
	name    string
	readyAt time.Time
	endsAt  time.Time // zero: it is not deleted
	crashes int32
	oom     bool // its host ended last because it had used up its memory
}

// NewCluster returns an empty cluster.
func NewCluster(now time.Time) *Cluster {
	return &Cluster{
		Now: now, Start: 2 * time.Second, Stop: time.Second, Ack: 200 * time.Millisecond, Broken: map[string]bool{},
		Outcomes: map[string]string{}, pods: map[string][]pod{}, desired: map[string]int32{},
	}
}

// World returns the present observations.
func (c *Cluster) World() strategy.World {
	w := strategy.World{
		Now: c.Now.Add(c.Skew), Spec: c.Spec, Status: c.Status, Update: c.Update, Stable: c.Spec.Replicas, Revisions: map[string]strategy.Revision{},
		Weights: maps.Clone(c.Weights), Acked: !c.Now.Before(c.ackAt), Ratio: c.Ratio, Observed: c.Observed, Gate: c.Gate, StepRows: c.Rows, RowsFrom: c.RowsFrom, GateStep: c.Status.Rollout.Step, GateSays: c.GateSays, Blocked: c.Blocked, Admission: c.Admission,
	}
	if w.Acked {
		c.InForce = w.Weights
	}
	for name, pods := range c.pods {
		r := strategy.Revision{Desired: c.desired[name]}
		for i := range pods {
			p := &pods[i]
			r.Pods++
			if p.endsAt.IsZero() && !c.Broken[name] && !c.Now.Before(p.readyAt) {
				r.Ready++
				r.Endpoints++
			}
			if p.crashes > 0 && p.endsAt.IsZero() {
				if r.Crashes == nil {
					r.Crashes = map[string]int32{}
				}
				r.Crashes[p.name] = p.crashes
				if p.oom {
					if r.OOMKilled == nil {
						r.OOMKilled = map[string]bool{}
					}
					r.OOMKilled[p.name] = true
				}
			}
		}
		if len(pods) > 0 || r.Desired > 0 {
			w.Revisions[name] = r
		}
	}
	return w
}

// Step makes a plan and applies it.
func (c *Cluster) Step() strategy.Plan {
	plan := strategy.Next(c.World())
	c.Apply(plan, Lines)
	return plan
}

// Lines is the number of a controller's writes for one plan.
const Lines = 4

// Apply carries out the first writes of a plan. A controller that dies has made only
// some.
func (c *Cluster) Apply(plan strategy.Plan, lines int) {
	if lines > 0 {
		c.Status = plan.Status
		maps.Copy(c.Outcomes, plan.Outcomes)
	}
	if lines > 1 {
		for name, n := range plan.Replicas {
			if have, ok := c.desired[name]; !ok || have < n {
				c.scale(name, n)
			}
		}
	}
	if lines > 2 {
		c.SetWeights(plan.Weights)
	}
	if lines > 3 {
		for name, n := range plan.Replicas {
			c.scale(name, n)
		}
		for name := range c.desired {
			if _, ok := plan.Replicas[name]; !ok {
				c.scale(name, 0)
				delete(c.desired, name)
			}
		}
	}
}

// SetWeights changes the route.
func (c *Cluster) SetWeights(weights map[string]int32) {
	if !maps.Equal(c.Weights, weights) {
		c.Weights, c.ackAt = maps.Clone(weights), c.Now.Add(c.Ack)
	}
}

// scale starts pods or deletes some, those that are not ready first.
func (c *Cluster) scale(name string, n int32) {
	c.desired[name] = n
	alive := int32(0)
	for i := range c.pods[name] {
		if c.pods[name][i].endsAt.IsZero() {
			alive++
		}
	}
	for at := c.Now.Add(c.Start); alive < n; alive++ {
		c.named++
		c.pods[name] = append(c.pods[name], pod{name: strconv.Itoa(c.named), readyAt: at})
		if c.Serial {
			at = at.Add(c.Start)
		}
	}
	for i := len(c.pods[name]) - 1; i >= 0 && alive > n; i-- {
		if p := &c.pods[name][i]; p.endsAt.IsZero() {
			p.endsAt = c.Now.Add(c.Stop)
			alive--
		}
	}
}

// Kill deletes all pods of a revision. Its Deployment starts others.
func (c *Cluster) Kill(name string) { c.Lose(name, c.desired[name]) }

// Lose deletes some pods of a revision. Its Deployment starts others.
func (c *Cluster) Lose(name string, some int32) {
	n := c.desired[name]
	if _, ok := c.desired[name]; !ok {
		return
	}
	c.scale(name, max(0, n-some))
	c.scale(name, n)
}

// Crash ends the host of one pod with an error, or because it has used up its memory.
// Its kubelet starts it again.
func (c *Cluster) Crash(name string, i int, oom bool) {
	if pods := c.pods[name]; i < len(pods) && pods[i].endsAt.IsZero() {
		pods[i].crashes++
		pods[i].oom = oom
		pods[i].readyAt = c.Now.Add(c.Start)
	}
}

// Advance lets time pass.
func (c *Cluster) Advance(d time.Duration) {
	c.Now = c.Now.Add(d)
	for name, pods := range c.pods {
		kept := pods[:0]
		for _, p := range pods {
			if p.endsAt.IsZero() || c.Now.Before(p.endsAt) {
				kept = append(kept, p)
			}
		}
		if c.pods[name] = kept; len(kept) == 0 {
			delete(c.pods, name)
		}
	}
}

// Run steps until nothing remains to do, or up to most times. It reports whether the
// rollout ended.
func (c *Cluster) Run(most int) bool {
	for range most {
		plan := c.Step()
		if plan.Status.Rollout.State == strategy.StateIdle && plan.After == 0 {
			return true
		}
		c.Advance(min(max(plan.After, 100*time.Millisecond), time.Second))
	}
	return false
}
