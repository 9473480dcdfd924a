package controller

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/api/client"
)

// Figures reads from hosts what they count and keep.
type Figures interface {
	// Stats returns a model's counters at the host at address.
	Stats(ctx context.Context, address, model, version string) (*api.Stats, error)
	// Digest returns the digest of the model's contents that the host serves.
	Digest(ctx context.Context, address, model, version string) (string, error)
	// Waits returns the reason why the host is not ready, or "" if it is ready.
	Waits(ctx context.Context, address string) (string, error)
	// Samples returns up to most rows that the host has scored, those that follow
	// the number after.
	Samples(ctx context.Context, address, model, version, token string, after uint64, most int) (*api.Samples, error)
	// Replay has the host score rows without counting them. The error is
	// errNotReplayed if the model does not accept replayed rows.
	Replay(ctx context.Context, address, model, version, token string, rows []api.Sample) (*api.Replayed, error)
}

// Hosts reads from hosts over HTTP.
type Hosts struct{ Client *http.Client }

const (
	maxStats   = 4 << 20
	maxSamples = 4 << 20 // of one page
)

// ask returns a client for the host at address. The token may be empty.
func (h Hosts) ask(address, token string) (*client.Client, error) {
	most := int64(maxStats)
	if token != "" {
		most = maxSamples
	}
	c, err := client.New(client.Config{URL: "http://" + address, Key: token, HTTP: h.Client, MaxAnswer: most})
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", address, err)
	}
	return c, nil
}

// of adds the host's address to an error.
func of(address string, err error) error {
	var p *api.Problem
	if errors.As(err, &p) && p.ErrorType == api.NotReplayed {
		return fmt.Errorf("%w: %.200s", errNotReplayed, p.Detail)
	}
	return fmt.Errorf("asking %s: %w", address, err)
}

// Stats implements Figures.
func (h Hosts) Stats(ctx context.Context, address, model, version string) (*api.Stats, error) {
	c, err := h.ask(address, "")
	if err != nil {
		return nil, err
	}
	s, err := c.Stats(ctx, model, client.StatsQuery{Version: version, Sketch: true})
	if err != nil {
		return nil, of(address, err)
	}
	return s, nil
}

// Digest implements Figures.
func (h Hosts) Digest(ctx context.Context, address, model, version string) (string, error) {
	c, err := h.ask(address, "")
	if err != nil {
		return "", err
	}
	m, err := c.Model(ctx, model)
	if err != nil {
		return "", of(address, err)
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
	c, err := h.ask(address, "")
	if err != nil {
		return "", err
	}
	r, err := c.Ready(ctx)
	if err != nil {
		return "", of(address, err)
	}
	return r.Reason, nil
}

// Samples implements Figures.
func (h Hosts) Samples(ctx context.Context, address, model, version, token string, after uint64, most int) (*api.Samples, error) {
	c, err := h.ask(address, token)
	if err != nil {
		return nil, err
	}
	s, err := c.Samples(ctx, model, client.SamplesQuery{Version: version, After: after, Limit: most})
	if err != nil {
		return nil, of(address, err)
	}
	return s, nil
}

// Replay implements Figures.
func (h Hosts) Replay(ctx context.Context, address, model, version, token string, rows []api.Sample) (*api.Replayed, error) {
	c, err := h.ask(address, token)
	if err != nil {
		return nil, err
	}
	body := api.RowsRequest{Version: version, Data: make([]any, len(rows))}
	for i := range rows {
		body.Data[i] = rows[i].Data
	}
	r, err := c.Replay(ctx, model, &body)
	if err != nil {
		return nil, of(address, err)
	}
	return r, nil
}
