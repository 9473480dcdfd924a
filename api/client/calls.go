package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/pynomaly/pynomaly-runtime/api"
)

// Predict scores one row.
func (c *Client) Predict(ctx context.Context, r *api.PredictRequest, options ...Option) (*api.Prediction, error) {
	return ask[api.Prediction](ctx, c, call{method: http.MethodPost, path: "/api/v1/predict", body: r}, options...)
}

// PredictBatch scores many rows. The answer has one prediction per row, in order.
// The prediction of a failed row has an Error.
func (c *Client) PredictBatch(ctx context.Context, r *api.BatchRequest, options ...Option) (*api.BatchResponse, error) {
	a, err := ask[api.BatchResponse](ctx, c, call{method: http.MethodPost, path: "/api/v1/predict/batch", body: r}, options...)
	if err == nil && len(a.Predictions) != len(r.Data) {
		return nil, fmt.Errorf("the host answered %d predictions for %d rows: %w", len(a.Predictions), len(r.Data), errIncomplete)
	}
	return a, err
}

// Models lists every version of every model.
func (c *Client) Models(ctx context.Context) (*api.ModelList, error) {
	return ask[api.ModelList](ctx, c, call{method: http.MethodGet, path: "/api/v1/models"})
}

// Model describes the versions of a model.
func (c *Client) Model(ctx context.Context, id string) (*api.Model, error) {
	return ask[api.Model](ctx, c, of(http.MethodGet, id, "", ""))
}

// Version describes one version of a model. version may be an alias. The error for a
// missing version or model is an *api.Problem.
func (c *Client) Version(ctx context.Context, id, version string) (*api.ModelVersion, error) {
	m, err := c.Model(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{version, m.Aliases[version]} {
		for i := range m.Versions {
			if name != "" && m.Versions[i].Version == name {
				return &m.Versions[i], nil
			}
		}
	}
	return nil, api.NewProblem(api.VersionNotFound, "version", "model %s has no version %.80q", id, version)
}

// Load loads a version, or the latest if version is empty, and returns when it is
// loaded.
func (c *Client) Load(ctx context.Context, id, version string) (*api.ModelVersion, error) {
	return ask[api.ModelVersion](ctx, c, of(http.MethodPost, id, "load", version))
}

// Unload unloads a version, or all versions if version is empty.
func (c *Client) Unload(ctx context.Context, id, version string) (*api.Unloaded, error) {
	return ask[api.Unloaded](ctx, c, of(http.MethodDelete, id, "unload", version))
}

// Learn makes a stateful model learn rows, in order.
func (c *Client) Learn(ctx context.Context, id string, r *api.RowsRequest) (*api.Learned, error) {
	k := of(http.MethodPost, id, "learn", "")
	k.body = r
	return ask[api.Learned](ctx, c, k)
}

// StatsQuery says which counters of a model to return.
type StatsQuery struct {
	Version string // empty: the sum of all loaded versions
	Sketch  bool   // include the scores on the grid that all models share
}

// Stats returns the counters of a model's answers.
func (c *Client) Stats(ctx context.Context, id string, q StatsQuery) (*api.Stats, error) {
	k := of(http.MethodGet, id, "stats", q.Version)
	if q.Sketch {
		k.query.Set("sketch", "true")
	}
	return ask[api.Stats](ctx, c, k)
}

// SamplesQuery says which of the rows that a version has scored to return.
type SamplesQuery struct {
	Version string // empty: the version that answers
	After   uint64 // Next of an earlier answer; 0: from the oldest row on
	Limit   int    // most rows in the answer; 0: the host's limit
}

// Samples returns rows that a version has scored, if the host keeps some.
func (c *Client) Samples(ctx context.Context, id string, q SamplesQuery) (*api.Samples, error) {
	k := of(http.MethodGet, id, "samples", q.Version)
	if q.After > 0 {
		k.query.Set("after", strconv.FormatUint(q.After, 10))
	}
	if q.Limit > 0 {
		k.query.Set("limit", strconv.Itoa(q.Limit))
	}
	return ask[api.Samples](ctx, c, k)
}

// Replay scores rows that are not counted. The answer has one score per row, in
// order, which is nil for a failed row.
func (c *Client) Replay(ctx context.Context, id string, r *api.RowsRequest) (*api.Replayed, error) {
	k := of(http.MethodPost, id, "samples", "")
	k.body = r
	a, err := ask[api.Replayed](ctx, c, k)
	if err == nil && len(a.Scores) != len(r.Data) {
		return nil, fmt.Errorf("the host answered %d scores for %d rows: %w", len(a.Scores), len(r.Data), errIncomplete)
	}
	return a, err
}

// Health returns what a running host has loaded.
func (c *Client) Health(ctx context.Context) (*api.Health, error) {
	return ask[api.Health](ctx, c, call{method: http.MethodGet, path: "/health"})
}

// Ready returns whether the host should get traffic, and the reason if it should
// not, which is not an error.
func (c *Client) Ready(ctx context.Context) (*api.Ready, error) {
	return ask[api.Ready](ctx, c, call{method: http.MethodGet, path: "/ready", also: http.StatusServiceUnavailable})
}

var errIncomplete = errors.New("the answer is incomplete")

// of returns a request about a model.
func of(method, id, what, version string) call {
	k := call{method: method, path: "/api/v1/models/" + id, query: url.Values{}}
	if !validID(id) { // it could be a path of its own
		k.path = "/api/v1/models/?"
		k.wrong = api.NewProblem(api.ValidationError, "model_id", "must be 1 to 128 letters, digits, - and _")
	}
	if what != "" {
		k.path += "/" + what
	}
	if version != "" {
		k.query.Set("version", version)
	}
	return k
}

// validID reports whether a model can have an id.
func validID(id string) bool {
	for i := range len(id) {
		c := id[i]
		if ok := 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_'; !ok {
			return false
		}
	}
	return id != "" && len(id) <= 128
}

// ask makes a call and decodes the answer as a T.
func ask[T any](ctx context.Context, c *Client, k call, options ...Option) (*T, error) {
	into := new(T)
	if err := c.do(ctx, k, into, options...); err != nil {
		return nil, err
	}
	return into, nil
}
