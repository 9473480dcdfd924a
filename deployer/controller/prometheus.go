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

// Requests are where requests, errors and their durations are counted, if not at the
// hosts.
type Requests interface {
	// Since counts what the pods of a revision, by the beginning of their names, have
	// answered for a model in so long until now.
	Since(ctx context.Context, namespace, pods, model string, span time.Duration) (gate.Sample, error)
}

// Prometheus counts by what it has scraped: series must carry the labels namespace and
// pod, as those of a PodMonitor or ServiceMonitor do.
type Prometheus struct{ api promv1.API }

// NewPrometheus asks the one at a URL.
func NewPrometheus(url string) (*Prometheus, error) {
	c, err := promapi.NewClient(promapi.Config{Address: url, Client: &http.Client{Timeout: askTimeout}})
	if err != nil {
		return nil, fmt.Errorf("--prometheus-url: %w", err)
	}
	return &Prometheus{promv1.NewAPI(c)}, nil
}

// Since implements Requests.
func (p *Prometheus) Since(ctx context.Context, namespace, pods, id string, span time.Duration) (gate.Sample, error) {
	// Less than this Prometheus may not have scraped twice.
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
		return nil, fmt.Errorf("asking Prometheus: %s is no vector", v.Type())
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

// histogram turns cumulative counts into those of each bin.
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
			return api.Histogram{}, fmt.Errorf("asking Prometheus: le=%q is no number", s.Metric["le"])
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

// ErrNotScraped is where there are no series of a revision's pods.
var ErrNotScraped = errors.New("it has no model_predictions_total of them: do its series have the labels namespace and pod?")

// scrapedWithin is how long new pods may take to be found and scraped twice.
const scrapedWithin = 3 * time.Minute

// observed takes requests, errors and durations of both revisions from Prometheus. There
// is a verdict where they cannot be had.
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
	return []gate.Verdict{{Gate: "prometheus", Result: gate.Pass, Message: "it answers"}}
}

// sum is what a side has counted. Of requests, errors and durations it is what Prometheus
// knows of, where that is more: it remembers pods that are gone, and hosts know what was
// not scraped twice yet.
func (k *comparison) sum(hash string) gate.Sample {
	s := k.sides[hash].Sum()
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
