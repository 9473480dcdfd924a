package controller

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/pynomaly/pynomaly-runtime/api"
)

// Figures are what hosts say of themselves.
type Figures interface {
	// Stats asks the host at an address for a model's counters.
	Stats(ctx context.Context, address, model, version string) (*api.Stats, error)
	// Digest asks it for that of a model's contents.
	Digest(ctx context.Context, address, model, version string) (string, error)
	// Waits asks it what it waits for; empty: it is ready.
	Waits(ctx context.Context, address string) (string, error)
	// Samples asks it for at most so many rows that it has scored, after others.
	Samples(ctx context.Context, address, model, version, token string, after uint64, most int) (*api.Samples, error)
	// Replay lets it score rows without counting them; errNotReplayed: it is no model for
	// that.
	Replay(ctx context.Context, address, model, version, token string, rows []api.Sample) (*api.Replayed, error)
}

// Hosts asks hosts over HTTP.
type Hosts struct{ Client *http.Client }

const (
	maxStats   = 4 << 20
	maxSamples = 4 << 20 // of one page
)

// Stats implements Figures.
func (h Hosts) Stats(ctx context.Context, address, model, version string) (*api.Stats, error) {
	var s api.Stats
	err := h.get(ctx, address, "/api/v1/models/"+model+"/stats", url.Values{"version": {version}, "sketch": {"true"}}, "", &s)
	if err != nil {
		return nil, err
	}
	return &s, nil
}

// Digest implements Figures.
func (h Hosts) Digest(ctx context.Context, address, model, version string) (string, error) {
	var m api.Model
	if err := h.get(ctx, address, "/api/v1/models/"+model, nil, "", &m); err != nil {
		return "", err
	}
	for i := range m.Versions {
		if m.Versions[i].Version == version {
			return m.Versions[i].Content, nil
		}
	}
	return "", fmt.Errorf("%s serves no %s@%s", address, model, version)
}

// Waits implements Figures.
func (h Hosts) Waits(ctx context.Context, address string) (string, error) {
	u := url.URL{Scheme: "http", Host: address, Path: "/ready"}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", fmt.Errorf("asking %s: %w", address, err)
	}
	resp, err := h.Client.Do(req)
	if err != nil {
		return "", fmt.Errorf("asking a host: %w", err)
	}
	defer resp.Body.Close()
	var r api.Ready
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxStats)).Decode(&r); err != nil {
		return "", fmt.Errorf("reading the answer of %s: %w", address, err)
	}
	return r.Reason, nil
}

// Samples implements Figures.
func (h Hosts) Samples(ctx context.Context, address, model, version, token string, after uint64, most int) (*api.Samples, error) {
	var s api.Samples
	query := url.Values{"version": {version}, "after": {strconv.FormatUint(after, 10)}, "limit": {strconv.Itoa(most)}}
	if err := h.get(ctx, address, "/api/v1/models/"+model+"/samples", query, token, &s); err != nil {
		return nil, err
	}
	return &s, nil
}

// Replay implements Figures.
func (h Hosts) Replay(ctx context.Context, address, model, version, token string, rows []api.Sample) (*api.Replayed, error) {
	body := struct {
		Version string            `json:"version"`
		Data    []json.RawMessage `json:"data"`
	}{Version: version}
	for _, r := range rows {
		body.Data = append(body.Data, r.Data)
	}
	text, err := json.Marshal(&body)
	if err != nil {
		return nil, fmt.Errorf("writing rows to replay: %w", err)
	}
	u := url.URL{Scheme: "http", Host: address, Path: "/api/v1/models/" + model + "/samples"}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", address, err)
	}
	req.Header.Set("Content-Type", "application/json")
	var r api.Replayed
	if err := h.do(req, token, &r); err != nil {
		return nil, err
	}
	if len(r.Scores) != len(rows) {
		return nil, fmt.Errorf("%s answered %d scores for %d rows", address, len(r.Scores), len(rows))
	}
	return &r, nil
}

func (h Hosts) get(ctx context.Context, address, path string, query url.Values, token string, into any) error {
	u := url.URL{Scheme: "http", Host: address, Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("asking %s: %w", address, err)
	}
	return h.do(req, token, into)
}

func (h Hosts) do(req *http.Request, token string, into any) error {
	address, most := req.URL.Host, int64(maxStats)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
		most = maxSamples
	}
	resp, err := h.Client.Do(req) //nolint:gosec // addresses are those of pods
	if err != nil {
		return fmt.Errorf("asking a host: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return fmt.Errorf("reading the answer of %s: %w", address, err)
	}
	var problem api.Problem
	if resp.StatusCode == http.StatusConflict && json.Unmarshal(text, &problem) == nil && problem.ErrorType == api.NotReplayed {
		return fmt.Errorf("%w: %.200s", errNotReplayed, problem.Detail)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("asking %s: %s: %.200s", req.URL.String(), resp.Status, text)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", req.URL.String(), err)
	}
	return nil
}
