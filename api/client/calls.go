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

// PredictBatch scores many rows. There is one prediction a row, in order; that of a row
// that failed has an Error.
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

// Version describes one version of a model, which may be named by an alias. The error of
// a version that there is not is an *api.Problem, as that of a model that there is not.
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

// Load loads a version, and returns when it is loaded; empty: the latest.
func (c *Client) Load(ctx context.Context, id, version string) (*api.ModelVersion, error) {
	return ask[api.ModelVersion](ctx, c, of(http.MethodPost, id, "load", version))
}

// Unload unloads a version; empty: all of them.
func (c *Client) Unload(ctx context.Context, id, version string) (*api.Unloaded, error) {
	return ask[api.Unloaded](ctx, c, of(http.MethodDelete, id, "unload", version))
}

// Learn has a stateful model learn rows, in order.
func (c *Client) Learn(ctx context.Context, id string, r *api.RowsRequest) (*api.Learned, error) {
	k := of(http.MethodPost, id, "learn", "")
	k.body = r
	return ask[api.Learned](ctx, c, k)
}

// StatsQuery says which figures of a model are asked for.
type StatsQuery struct {
	Version string // empty: all versions that have been loaded, summed up
	Sketch  bool   // with the scores on the grid that all models share
}

// Stats counts what versions have answered.
func (c *Client) Stats(ctx context.Context, id string, q StatsQuery) (*api.Stats, error) {
	k := of(http.MethodGet, id, "stats", q.Version)
	if q.Sketch {
		k.query.Set("sketch", "true")
	}
	return ask[api.Stats](ctx, c, k)
}

// SamplesQuery says which of the rows that a version has scored are asked for.
type SamplesQuery struct {
	Version string // empty: the one that answers
	After   uint64 // the Next of an earlier answer; 0: from the oldest on
	Limit   int    // rows in the answer at most; 0: as many as the host gives
}

// Samples returns rows that a version has scored, where the host keeps some.
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

// Replay scores rows that count nowhere. There is one score a row, in order, nil for
// those that failed.
func (c *Client) Replay(ctx context.Context, id string, r *api.RowsRequest) (*api.Replayed, error) {
	k := of(http.MethodPost, id, "samples", "")
	k.body = r
	a, err := ask[api.Replayed](ctx, c, k)
	if err == nil && len(a.Scores) != len(r.Data) {
		return nil, fmt.Errorf("the host answered %d scores for %d rows: %w", len(a.Scores), len(r.Data), errIncomplete)
	}
	return a, err
}

// Health says that the host is alive, and what it holds.
func (c *Client) Health(ctx context.Context) (*api.Health, error) {
	return ask[api.Health](ctx, c, call{method: http.MethodGet, path: "/health"})
}

// Ready says whether the host should get traffic, and if not, why. That it should not is
// no error.
func (c *Client) Ready(ctx context.Context) (*api.Ready, error) {
	return ask[api.Ready](ctx, c, call{method: http.MethodGet, path: "/ready", also: http.StatusServiceUnavailable})
}

var errIncomplete = errors.New("the answer is incomplete")

// of is a request for a model, or for something of one.
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

// ask makes a call whose answer is of a type.
func ask[T any](ctx context.Context, c *Client, k call, options ...Option) (*T, error) {
	into := new(T)
	if err := c.do(ctx, k, into, options...); err != nil {
		return nil, err
	}
	return into, nil
}
