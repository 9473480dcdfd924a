// Package simulate runs rollouts of deployer/strategy without a cluster: with slow
// or broken pods, a slow gateway, clocks that jump, users who change their minds,
// and new models that are worse.
//
// Only tests and `make simulate` use it.
package simulate

import (
	"maps"
	"time"

	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// Cluster is the state that a controller would see and change.
type Cluster struct {
	Now       time.Time
	Spec      v1alpha1.ModelDeploymentSpec
	Status    v1alpha1.ModelDeploymentStatus
	Update    string
	Ratio     bool
	Blocked   string
	Admission *v1alpha1.Admission
	Start     time.Duration   // from a pod's creation until it is ready
	Stop      time.Duration   // from a pod's deletion until it is gone
	Ack       time.Duration   // from a change of weights until the gateway has accepted it
	Broken    map[string]bool // revisions whose pods never get ready
	Gate      strategy.Gate
	GateSays  string
	Observed  strategy.Observed

	Outcomes map[string]string
	Weights  map[string]int32
	ackAt    time.Time
	pods     map[string][]pod
	desired  map[string]int32
}

type pod struct {
	readyAt time.Time
	endsAt  time.Time // zero: it is not deleted
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
		Now: c.Now, Spec: c.Spec, Status: c.Status, Update: c.Update, Stable: c.Spec.Replicas, Revisions: map[string]strategy.Revision{},
		Weights: maps.Clone(c.Weights), Acked: !c.Now.Before(c.ackAt), Ratio: c.Ratio, Observed: c.Observed, Gate: c.Gate, GateStep: c.Status.Rollout.Step, GateSays: c.GateSays, Blocked: c.Blocked, Admission: c.Admission,
	}
	for name, pods := range c.pods {
		r := strategy.Revision{Desired: c.desired[name]}
		for _, p := range pods {
			r.Pods++
			if p.endsAt.IsZero() && !c.Broken[name] && !c.Now.Before(p.readyAt) {
				r.Ready++
				r.Endpoints++
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
	c.Status = plan.Status
	maps.Copy(c.Outcomes, plan.Outcomes)
	if !maps.Equal(c.Weights, plan.Weights) {
		c.Weights, c.ackAt = maps.Clone(plan.Weights), c.Now.Add(c.Ack)
	}
	for name := range c.desired {
		if _, ok := plan.Replicas[name]; !ok {
			c.scale(name, 0)
			delete(c.desired, name)
		}
	}
	for name, n := range plan.Replicas {
		c.scale(name, n)
	}
	return plan
}

// scale starts pods or deletes some, those that are not ready first.
func (c *Cluster) scale(name string, n int32) {
	c.desired[name] = n
	alive := int32(0)
	for _, p := range c.pods[name] {
		if p.endsAt.IsZero() {
			alive++
		}
	}
	for ; alive < n; alive++ {
		c.pods[name] = append(c.pods[name], pod{readyAt: c.Now.Add(c.Start)})
	}
	for i := len(c.pods[name]) - 1; i >= 0 && alive > n; i-- {
		if p := &c.pods[name][i]; p.endsAt.IsZero() {
			p.endsAt = c.Now.Add(c.Stop)
			alive--
		}
	}
}

// Kill deletes all pods of a revision. Its Deployment starts others.
func (c *Cluster) Kill(name string) {
	n := c.desired[name]
	c.scale(name, 0)
	c.scale(name, n)
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
