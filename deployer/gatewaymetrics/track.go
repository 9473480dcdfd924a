package gatewaymetrics

import (
	"fmt"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// Side is one of the two revisions that are compared.
type Side int

// The sides.
const (
	Update Side = iota
	Stable
	sides
)

// mostInstances bounds what the status of a rollout holds.
const mostInstances = 32

// Reading is what one instance of a gateway has counted since its start.
type Reading struct {
	Name    string
	Started time.Time // zero: not known
	Counts  [sides]Count
}

// Tracker adds up what all instances of a gateway count for both revisions from a
// moment on. What an instance had counted before it ended stays. A Tracker is for one
// goroutine.
type Tracker struct {
	began  [sides]time.Time // counts before do not count; zero: all of them do
	edges  []int64
	sums   [sides]Count
	before map[string]*Reading // the last reading of each instance
}

// NewTracker returns a Tracker that counts from these moments on.
func NewTracker(update, stable time.Time) *Tracker {
	return &Tracker{began: [sides]time.Time{update, stable}, before: map[string]*Reading{}}
}

// Restore returns a Tracker that goes on from a state.
func Restore(state *v1alpha1.GatewayFigures, update, stable time.Time) *Tracker {
	t := NewTracker(update, stable)
	t.edges = slices.Clone(state.EdgesMicroseconds)
	count := func(c v1alpha1.GatewayCount) Count {
		return Count{Known: true, Requests: c.Requests, Errors: c.Errors, Edges: t.edges, Bins: t.fitting(c.Durations)}
	}
	t.sums = [sides]Count{count(state.Update), count(state.Stable)}
	for _, i := range state.Instances {
		r := &Reading{Name: i.Name, Counts: [sides]Count{count(i.Update), count(i.Stable)}}
		if i.Started != nil {
			r.Started = i.Started.Time
		}
		t.before[i.Name] = r
	}
	return t
}

// fitting returns bins that have the edges, or none.
func (t *Tracker) fitting(bins []int64) []int64 {
	if len(bins) != len(t.edges)+1 {
		return nil
	}
	return slices.Clone(bins)
}

// State returns the sums and the last readings.
func (t *Tracker) State() *v1alpha1.GatewayFigures {
	count := func(c Count) v1alpha1.GatewayCount {
		return v1alpha1.GatewayCount{Requests: c.Requests, Errors: c.Errors, Durations: slices.Clone(c.Bins)}
	}
	s := &v1alpha1.GatewayFigures{EdgesMicroseconds: slices.Clone(t.edges), Update: count(t.sums[Update]), Stable: count(t.sums[Stable])}
	for _, name := range slices.Sorted(maps.Keys(t.before)) {
		r := t.before[name]
		i := v1alpha1.GatewayInstance{Name: name, Update: count(r.Counts[Update]), Stable: count(r.Counts[Stable])}
		if !r.Started.IsZero() {
			at := metav1.NewMicroTime(r.Started)
			i.Started = &at
		}
		s.Instances = append(s.Instances, i)
	}
	return s
}

// Sum returns what has been counted for a side.
func (t *Tracker) Sum(s Side) Count { return t.sums[s] }

// Add takes the present readings of all instances that there are.
func (t *Tracker) Add(all []Reading) error {
	if len(all) > mostInstances {
		return fmt.Errorf("the gateway has %d instances, and %d can be read one by one: let a Prometheus scrape them, or name fewer", len(all), mostInstances)
	}
	for i := range all {
		t.adopt(all[i].Counts[:])
		t.add(&all[i])
	}
	for name := range t.before { // there is room for those that have ended
		if len(t.before) > mostInstances && !slices.ContainsFunc(all, func(r Reading) bool { return r.Name == name }) {
			delete(t.before, name)
		}
	}
	return nil
}

// adopt takes over the edges of durations. Durations with other edges are forgotten.
func (t *Tracker) adopt(counts []Count) {
	for i := range counts {
		c := &counts[i]
		if len(c.Bins) == 0 || slices.Equal(c.Edges, t.edges) {
			continue
		}
		t.edges = c.Edges
		for s := range t.sums {
			t.sums[s].Bins = nil
		}
		for _, r := range t.before {
			for s := range r.Counts {
				r.Counts[s].Bins = nil
			}
		}
	}
}

func (t *Tracker) add(r *Reading) {
	last := t.before[r.Name]
	again := last != nil && !last.Started.IsZero() && !r.Started.IsZero() && r.Started.Sub(last.Started).Abs() > time.Second
	for s := range r.Counts {
		if last != nil && !again && !r.Counts[s].Known { // a series that is missing says nothing
			r.Counts[s] = last.Counts[s]
			continue
		}
		now := r.Counts[s]
		base := Count{}
		switch {
		case again: // another process, which began with 0
		case last != nil && now.Requests >= last.Counts[s].Requests:
			base = last.Counts[s]
		case last != nil: // it has forgotten what it had counted
		case !t.began[s].IsZero() && (r.Started.IsZero() || r.Started.Before(t.began[s])):
			base = now
		}
		t.sums[s] = t.sums[s].plus(now, base)
	}
	kept := *r
	t.before[r.Name] = &kept
}

// plus adds what now has beyond base.
func (c Count) plus(now, base Count) Count {
	c.Known = c.Known || now.Known
	c.Requests += now.Requests - base.Requests
	c.Errors += max(0, now.Errors-base.Errors)
	if len(now.Bins) == 0 || (len(base.Bins) == 0 && base.Requests > 0) { // nobody knows how long those took
		return c
	}
	bins := make([]int64, len(now.Bins))
	copy(bins, c.Bins)
	for i, n := range now.Bins {
		if i < len(base.Bins) {
			n -= base.Bins[i]
		}
		bins[i] += max(0, n)
	}
	c.Edges, c.Bins = now.Edges, bins
	return c
}

// Again takes the next readings for the first ones. What has been counted stays. It is
// for Services that have got other names in the gateway's metrics.
func (t *Tracker) Again(now time.Time) {
	t.began = [sides]time.Time{now, now}
	clear(t.before)
}
