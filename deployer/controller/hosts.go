package controller

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/api/client"
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

// ask returns a client of the host at an address. The token may be empty.
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

// of says which host an error is of.
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
