package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	promapi "github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/deployer/gate"
	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// Requests counts requests, errors and durations where the hosts' own counters are
// not used.
type Requests interface {
	// Since returns what the pods of a revision answered for a model within span
	// until now. pods is the beginning of the pods' names.
	Since(ctx context.Context, namespace, pods, model string, span time.Duration) (gate.Sample, error)
}

// Prometheus counts what Prometheus has scraped. The series must have the labels
// namespace and pod, as those of a PodMonitor or ServiceMonitor have.
type Prometheus struct{ api promv1.API }

// NewPrometheus returns a client of the Prometheus at url.
func NewPrometheus(url string) (*Prometheus, error) {
	c, err := promapi.NewClient(promapi.Config{Address: url, Client: &http.Client{Timeout: askTimeout}})
	if err != nil {
		return nil, fmt.Errorf("--prometheus-url: %w", err)
	}
	return &Prometheus{promv1.NewAPI(c)}, nil
}

// Since implements Requests.
func (p *Prometheus) Since(ctx context.Context, namespace, pods, id string, span time.Duration) (gate.Sample, error) {
	// Prometheus may not have scraped twice within less.
	const least = time.Minute
	window := model.Duration(max(span, least).Round(time.Second)).String()
	series := func(name string) string {
		return fmt.Sprintf("increase(%s{namespace=%q,pod=~%q,model_id=%q}[%s])", name, namespace, pods+"-.*", id, window)
	}
	var s gate.Sample
	var err error
	// A pod may be scraped through several Services.
	var known bool
	if s.Requests, known, err = p.number(ctx, "sum(max by (pod, version) ("+series("model_predictions_total")+"))"); err != nil {
		return s, err
	}
	if !known {
		return s, fmt.Errorf("asking Prometheus for pods %s-.* in namespace %s: %w", pods, namespace, ErrNotScraped)
	}
	if s.Errors, _, err = p.number(ctx, "sum(max by (pod, version, error_type) ("+series("model_errors_total")+"))"); err != nil {
		return s, err
	}
	s.Durations, err = p.histogram(ctx, "sum by (le) (max by (pod, version, le) ("+series("model_prediction_duration_seconds_bucket")+"))")
	return s, err
}

func (p *Prometheus) query(ctx context.Context, text string) (model.Vector, error) {
	v, _, _, err := p.api.Query(ctx, text, time.Time{})
	if err != nil {
		return nil, fmt.Errorf("asking Prometheus: %w", err)
	}
	out, ok := v.(model.Vector)
	if !ok {
		return nil, fmt.Errorf("asking Prometheus: %s is not a vector", v.Type())
	}
	return out, nil
}

func (p *Prometheus) number(ctx context.Context, text string) (n int64, known bool, err error) {
	v, err := p.query(ctx, text)
	if err != nil || len(v) == 0 {
		return 0, false, err
	}
	return int64(math.Round(float64(v[0].Value))), true, nil
}

// histogram converts cumulative counts into the count of each bin.
func (p *Prometheus) histogram(ctx context.Context, text string) (api.Histogram, error) {
	v, err := p.query(ctx, text)
	if err != nil {
		return api.Histogram{}, err
	}
	type bucket struct{ edge, count float64 }
	var all []bucket
	for _, s := range v {
		edge, err := strconv.ParseFloat(string(s.Metric["le"]), 64)
		if err != nil {
			return api.Histogram{}, fmt.Errorf("asking Prometheus: le=%q is not a number", s.Metric["le"])
		}
		all = append(all, bucket{edge, float64(s.Value)})
	}
	slices.SortFunc(all, func(a, b bucket) int { return cmp.Compare(a.edge, b.edge) })
	var h api.Histogram
	below := 0.0
	for _, b := range all {
		if !math.IsInf(b.edge, 1) {
			h.Edges = append(h.Edges, b.edge)
		}
		h.Counts = append(h.Counts, uint64(math.Round(max(0, b.count-below))))
		below = max(below, b.count)
	}
	return h, nil
}

// ErrNotScraped means that Prometheus has no series of a revision's pods.
var ErrNotScraped = errors.New("there is no model_predictions_total: do the series have the labels namespace and pod?")

// scrapedWithin is how long Prometheus may take to find new pods and scrape them
// twice.
const scrapedWithin = 3 * time.Minute

// observed reads requests, errors and durations of both revisions from Prometheus.
// Its verdict says whether that succeeded.
func (r *Reconciler) observed(ctx context.Context, md *v1alpha1.ModelDeployment, k *comparison) []gate.Verdict {
	k.requests = map[string]gate.Sample{}
	for hash := range k.sides {
		s, err := r.Prometheus.Since(ctx, md.Namespace, render.RevisionName(md, hash), md.Spec.Template.Model.ID, r.Now().Sub(k.began))
		if err != nil {
			v := gate.Verdict{Gate: "prometheus", Result: gate.Error, Message: fmt.Sprintf("%.300s", err.Error())}
			if errors.Is(err, ErrNotScraped) && r.Now().Sub(k.began) < scrapedWithin {
				v.Result = gate.Inconclusive
			}
			return []gate.Verdict{v}
		}
		k.requests[hash] = s
	}
	return []gate.Verdict{{Gate: "prometheus", Result: gate.Pass, Message: "Prometheus answers"}}
}

// sum returns what a side has counted. Requests, errors and durations are those of
// Prometheus if those are more: Prometheus remembers removed pods, and hosts know
// what has not been scraped twice.
func (k *comparison) sum(hash string) gate.Sample {
	s := k.sides[hash].Sum()
	s.Gateway = k.counted[hash]
	p, ok := k.requests[hash]
	if !ok {
		return s
	}
	if p.Requests+p.Errors > s.Requests+s.Errors {
		s.Requests, s.Errors = p.Requests, p.Errors
	}
	if gate.Total(p.Durations) > gate.Total(s.Durations) {
		s.Durations = p.Durations
	}
	return s
}
