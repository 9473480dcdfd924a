package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/pynomaly/pynomaly-runtime/deployer/gate"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// mostPinnedAsked is how many stable hosts are asked which versions clients name.
const mostPinnedAsked = 5

// pinned returns what to say about clients that name the stable version, which the new
// revision does not serve: they get no answer from it. It asks hosts only while the new
// revision has no traffic, and returns what was known before otherwise.
func (r *Reconciler) pinned(ctx context.Context, seen *sight, s *v1alpha1.ModelDeploymentStatus, all []v1alpha1.ModelRevision) string {
	ro := &s.Rollout
	if s.Update == s.Stable || s.Stable == "" || ro.Aborted != "" {
		return ""
	}
	stable, ok := revisionWith(all, s.Stable)
	update, known := revisionWith(all, s.Update)
	if !ok || !known || stable.Spec.Template.Model.Version == update.Spec.Template.Model.Version {
		return ""
	}
	if ro.Weight > 0 || seen.world.Weights[s.Update] > 0 {
		return ro.Warning
	}
	pods := seen.pods[s.Stable]
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	version := stable.Spec.Template.Model.Version
	counted, err := r.ask(ctx, stable.Spec.Template.Model.ID, version, pods[:min(len(pods), mostPinnedAsked)])
	if err != nil {
		r.Log.Debug("hosts do not say which versions clients name", "error", err)
		return ro.Warning
	}
	var requests, named int64
	for _, p := range counted {
		requests += p.Stats.Requests
		named += p.Stats.Pinned
	}
	return warning(requests, named, version)
}

// warning says how many requests name a version. Shares of less than one in a thousand
// are not worth one.
func warning(requests, named int64, version string) string {
	if requests == 0 || named*1000 < requests {
		return ""
	}
	return fmt.Sprintf("%s of the last %s name version %s, which the new revision does not serve: they fail there", percent(named, requests), rounded(requests), version)
}

// percent returns a share with two digits.
func percent(n, of int64) string {
	share := 100 * float64(n) / float64(of)
	if share >= 10 {
		return fmt.Sprintf("%.0f %%", share)
	}
	return fmt.Sprintf("%.2g %%", share)
}

// rounded returns a number of requests with two digits, so that the warning is not
// another one at each look.
func rounded(n int64) string {
	unit := int64(1)
	for n/unit >= 100 {
		unit *= 10
	}
	return fmt.Sprintf("%d requests", n/unit*unit)
}

// beside says how many requests hosts have answered that the gateway has not counted, or
// "". Those are of clients that use the Service: they stay with a host for as long as they
// keep their connection. Messages over WebSockets are left out, because they are one
// request for the gateway. Nobody knows if the gateway's metrics are not read.
func (k *comparison) beside() string {
	var hosts, gateway int64
	for hash, side := range k.sides {
		c := k.counted[hash]
		if c == nil {
			return ""
		}
		s := side.Sum()
		hosts += s.Requests + s.Errors - s.Streamed
		gateway += c.Requests
	}
	const least = 20 // of less than a twentieth, the two may have been asked at other times
	if n := hosts - gateway; n > 0 && n*least >= hosts {
		return fmt.Sprintf("; %s of them came beside the gateway, over the Service", percent(n, hosts))
	}
	return ""
}

// stuckTo says how many requests of both revisions named a version or came over
// WebSockets since the gateway accepted the weights, or "". No weight moves those.
func stuckTo(update, stable gate.Sample) string {
	all := update.Requests + update.Errors + stable.Requests + stable.Errors
	text := ""
	for _, c := range []struct {
		n    int64
		what string
	}{
		{update.Pinned + stable.Pinned + update.Unknown + stable.Unknown, "name a version"},
		{update.Streamed + stable.Streamed, "came over WebSockets"},
	} {
		if c.n > 0 && c.n*100 >= all {
			text += fmt.Sprintf("; %s of them %s", percent(c.n, all), c.what)
		}
	}
	return text
}
