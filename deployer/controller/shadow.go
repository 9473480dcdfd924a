package controller

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/deployer/gate"
	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// shadow is the state of a comparison on replayed rows.
type shadow struct {
	seen    map[string]position // by pod
	pairs   []gate.Pair
	look    gate.Look
	verdict gate.Verdict
	broken  bool // the last replay failed: the verdict is an error
	next    time.Time
	page    int // rows in one request; fewer if they take long
}

// position is how far a pod's samples have been replayed.
type position struct {
	start time.Time
	after uint64
}

const (
	replayEvery = 2 * time.Second
	replayFor   = time.Second // at a time; an abort waits for at most this
	replayPage  = 50          // rows in one request
	replayMost  = 5000        // pairs, enough for any difference that matters
)

var errNotReplayed = errors.New("it does not accept replayed rows")

// shadow replays rows that the stable revision has scored to the new one, and
// compares the scores. It returns no verdict if the deployment keeps no samples.
func (r *Reconciler) shadow(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, k *comparison, all []v1alpha1.ModelRevision) []gate.Verdict {
	if g := md.Spec.Strategy.Gates; md.Spec.Template.Samples == 0 || g != nil && slices.Contains(g.Skip, gate.Shadow) {
		return nil
	}
	old, ok := revisionWith(all, k.stable)
	if !ok || old.Spec.Template.Samples == 0 {
		return []gate.Verdict{{Gate: gate.Shadow, Result: gate.Skipped, Message: "not compared: the stable revision keeps no samples"}}
	}
	s := &k.shadow
	now := r.Now()
	if s.verdict.Gate != "" && now.Before(s.next) || len(s.pairs) >= replayMost && !s.broken {
		return []gate.Verdict{s.verdict}
	}
	err := r.replay(ctx, md, seen, k, old)
	s.next = r.Now().Add(replayEvery)
	switch n := int64(len(s.pairs)); {
	case errors.Is(err, errNotReplayed):
		s.broken, s.verdict = false, gate.Verdict{Gate: gate.Shadow, Result: gate.Skipped, Message: fmt.Sprintf("not compared: %.300s", err.Error())}
	case err != nil:
		s.broken, s.verdict = true, gate.Verdict{Gate: gate.Shadow, Result: gate.Error, N: n, Message: fmt.Sprintf("%.300s", err.Error())}
	case s.verdict.Gate == "" || s.broken || s.look.Due(n):
		s.look, s.broken = s.look.Next(n), false
		s.verdict = gate.Paired(limitsOf(md.Spec.Strategy.Gates), s.pairs, s.look.K)
	}
	return []gate.Verdict{s.verdict}
}

func revisionWith(all []v1alpha1.ModelRevision, hash string) (*v1alpha1.ModelRevision, bool) {
	for i := range all {
		if all[i].Spec.Hash == hash {
			return &all[i], true
		}
	}
	return nil, false
}

// replay reads new rows and has them scored. Rows that were scored before an error
// count.
func (r *Reconciler) replay(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, k *comparison, old *v1alpha1.ModelRevision) error {
	target := Host{}
	for i := range seen.pods[k.update] {
		if p := &seen.pods[k.update][i]; isReady(p) {
			target = hostOf(p)
			break
		}
	}
	if target.Address == "" {
		return nil
	}
	if k.shadow.seen == nil {
		k.shadow.seen = map[string]position{}
	}
	ctx, cancel := context.WithTimeout(ctx, replayFor)
	defer cancel()
	before := len(k.shadow.pairs)
	var errs error
	for i := range seen.pods[k.stable] {
		p := &seen.pods[k.stable][i]
		if !isReady(p) || ctx.Err() != nil || len(k.shadow.pairs) >= replayMost {
			continue
		}
		errs = errors.Join(errs, r.replayFrom(ctx, p, target, md.Spec.Template.Model, old.Spec.Template.Model.Version, &k.shadow))
	}
	if ctx.Err() != nil && len(k.shadow.pairs) > before { // the time is over, but some rows were scored
		return nil
	}
	return errs
}

func hostOf(p *corev1.Pod) Host {
	return Host{Address: net.JoinHostPort(p.Status.PodIP, strconv.Itoa(render.Port)), Namespace: p.Namespace}
}

// replayFrom replays the rows that one pod has now, a page at a time, until the
// context ends.
func (r *Reconciler) replayFrom(ctx context.Context, from *corev1.Pod, target Host, m v1alpha1.ModelReference, version string, s *shadow) error {
	if s.page == 0 {
		s.page = replayPage
	}
	end := uint64(math.MaxUint64)
	for ctx.Err() == nil && len(s.pairs) < replayMost && s.seen[string(from.UID)].after < end {
		at := s.seen[string(from.UID)]
		samples, err := r.Figures.Samples(ctx, hostOf(from), m.ID, version, at.after, s.page)
		switch {
		case err != nil:
			return err
		case samples.NotKept != "":
			return fmt.Errorf("%w: %s", errNotReplayed, samples.NotKept)
		case !at.start.IsZero() && !at.start.Equal(samples.ProcessStartTime): // the pod has restarted and counts from 0
			s.seen[string(from.UID)] = position{start: samples.ProcessStartTime}
			continue
		case len(samples.Rows) == 0:
			s.seen[string(from.UID)] = position{samples.ProcessStartTime, samples.Next}
			return nil
		}
		if end == math.MaxUint64 {
			end = samples.Total // rows keep arriving
		}
		answer, err := r.Figures.Replay(ctx, target, m.ID, m.Version, samples.Rows)
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				s.page = max(1, s.page/2)
			}
			return err
		}
		s.pairs = append(s.pairs, pairsOf(samples.Rows, samples.Threshold, answer)...)
		s.seen[string(from.UID)] = position{samples.ProcessStartTime, samples.Next}
	}
	return nil
}

func pairsOf(rows []api.Sample, threshold *float64, answer *api.Replayed) []gate.Pair {
	out := make([]gate.Pair, len(rows))
	for i := range rows {
		p := gate.Pair{Stable: rows[i].Score, Update: math.NaN()}
		p.StableAnomaly = threshold != nil && p.Stable > *threshold
		if s := answer.Scores[i]; s != nil {
			p.Update = *s
			p.UpdateAnomaly = answer.Threshold != nil && p.Update > *answer.Threshold
		}
		out[i] = p
	}
	return out
}
