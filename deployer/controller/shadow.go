package controller

import (
	"context"
	"fmt"
	"math"
	"net"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/deployer/gate"
	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// shadow is what was replayed so far.
type shadow struct {
	seen    map[string]position // by pod
	pairs   []gate.Pair
	look    gate.Look
	verdict gate.Verdict
	next    time.Time
}

// position is how far a pod's samples have been replayed.
type position struct {
	start time.Time
	total uint64
}

const (
	replayEvery = 2 * time.Second
	replayMost  = 5000 // pairs are enough for any difference that matters
)

// shadow replays rows that the stable revision has scored to the new one, and compares
// the scores. Nothing is said where hosts keep no samples.
func (r *Reconciler) shadow(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, k *comparison, all []v1alpha1.ModelRevision) []gate.Verdict {
	if md.Spec.Template.Samples == 0 {
		return nil
	}
	old, ok := revisionWith(all, k.stable)
	if !ok || old.Spec.Template.Samples == 0 {
		return []gate.Verdict{{Gate: gate.Shadow, Result: gate.Pass, Message: "not compared: the stable revision keeps no samples"}}
	}
	s := &k.shadow
	if now := r.Now(); s.verdict.Gate == "" || !now.Before(s.next) && len(s.pairs) < replayMost {
		s.next = now.Add(replayEvery)
		pairs, err := r.replay(ctx, md, seen, k, old)
		if err != nil {
			return []gate.Verdict{{Gate: gate.Shadow, Result: gate.Error, Message: err.Error()}}
		}
		s.pairs = append(s.pairs, pairs...)
		if n := int64(len(s.pairs)); s.verdict.Gate == "" || s.look.Due(n) {
			s.look = s.look.Next(n)
			s.verdict = gate.Paired(limitsOf(md.Spec.Strategy.Gates), s.pairs, s.look.K)
		}
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

// replay takes the rows that are new and has them scored.
func (r *Reconciler) replay(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, k *comparison, old *v1alpha1.ModelRevision) ([]gate.Pair, error) {
	var secret corev1.Secret
	if err := r.Secrets.Get(ctx, client.ObjectKey{Namespace: md.Namespace, Name: render.SamplesSecret}, &secret); err != nil {
		return nil, fmt.Errorf("reading the token for samples: `deploy install` makes it for the namespaces of environments: %w", err)
	}
	token := string(secret.Data[render.SamplesKey])
	m := md.Spec.Template.Model
	target := ""
	for i := range seen.pods[k.update] {
		if p := &seen.pods[k.update][i]; isReady(p) {
			target = hostOf(p)
			break
		}
	}
	if target == "" {
		return nil, nil
	}
	if k.shadow.seen == nil {
		k.shadow.seen = map[string]position{}
	}
	var out []gate.Pair
	for i := range seen.pods[k.stable] {
		p := &seen.pods[k.stable][i]
		if !isReady(p) {
			continue
		}
		pairs, err := r.replayFrom(ctx, p, target, token, m, old.Spec.Template.Model.Version, k)
		if err != nil {
			return nil, err
		}
		out = append(out, pairs...)
	}
	return out, nil
}

func hostOf(p *corev1.Pod) string {
	return net.JoinHostPort(p.Status.PodIP, strconv.Itoa(render.Port))
}

func (r *Reconciler) replayFrom(ctx context.Context, from *corev1.Pod, target, token string, m v1alpha1.ModelReference, version string, k *comparison) ([]gate.Pair, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*askTimeout)
	defer cancel()
	samples, err := r.Figures.Samples(ctx, hostOf(from), m.ID, version, token)
	if err != nil {
		return nil, err
	}
	at := k.shadow.seen[string(from.UID)]
	if !at.start.Equal(samples.ProcessStartTime) {
		at = position{start: samples.ProcessStartTime}
	}
	rows := fresh(samples, at.total)
	at.total = samples.Total
	if len(rows) == 0 {
		k.shadow.seen[string(from.UID)] = at
		return nil, nil
	}
	answer, err := r.Figures.Replay(ctx, target, m.ID, m.Version, token, rows)
	if err != nil {
		return nil, err
	}
	k.shadow.seen[string(from.UID)] = at
	return pairsOf(rows, samples.Threshold, answer), nil
}

// fresh are the rows that were kept after the first so many.
func fresh(s *api.Samples, before uint64) []api.Sample {
	n := min(s.Total-min(before, s.Total), uint64(len(s.Rows)))
	return s.Rows[uint64(len(s.Rows))-n:]
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
