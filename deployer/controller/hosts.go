package controller

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/api/client"
)

// Host is a pod that serves a model.
type Host struct {
	Address   string // host:port
	Namespace string // whose key is good for it
}

// Figures reads from hosts what they count and keep.
type Figures interface {
	// Stats returns a model's counters at a host.
	Stats(ctx context.Context, at Host, model, version string) (*api.Stats, error)
	// Digest returns the digest of the model's contents that a host serves.
	Digest(ctx context.Context, at Host, model, version string) (string, error)
	// Waits returns the reason why a host is not ready, or "" if it is ready.
	Waits(ctx context.Context, at Host) (string, error)
	// Samples returns up to most rows that a host has scored, those that follow the
	// number after.
	Samples(ctx context.Context, at Host, model, version string, after uint64, most int) (*api.Samples, error)
	// Replay has a host score rows without counting them. The error is errNotReplayed
	// if the model does not accept replayed rows.
	Replay(ctx context.Context, at Host, model, version string, rows []api.Sample) (*api.Replayed, error)
}

// Keys are the API keys of the controller.
type Keys interface {
	// Keys returns the keys for the hosts of a namespace, the present one first. The
	// error is hostkeys.ErrNoKey if there is none.
	Keys(ctx context.Context, namespace string) ([]string, error)
}

// Hosts reads from hosts over HTTP. It is safe for concurrent use.
type Hosts struct {
	Client *http.Client
	Keys   Keys

	mu    sync.Mutex
	taken map[string]string // by address, the key that the host has accepted last
}

const (
	maxAnswer = 4 << 20 // bytes
	maxTaken  = 10_000  // addresses that are remembered
)

// ask calls do with a client that has the controller's key. While a key is being
// replaced, some hosts know only the new one and others only the old one: a host that
// refuses a key is asked with the next.
func (h *Hosts) ask(ctx context.Context, at Host, do func(*client.Client) error) error {
	all, err := h.Keys.Keys(ctx, at.Namespace)
	if err != nil {
		return fmt.Errorf("asking %s: %w", at.Address, err)
	}
	for _, key := range h.inOrder(at.Address, all) {
		var c *client.Client
		if c, err = client.New(client.Config{URL: "http://" + at.Address, Key: key, HTTP: h.Client, MaxAnswer: maxAnswer}); err != nil {
			break
		}
		var p *api.Problem
		if err = do(c); errors.As(err, &p) && p.ErrorType == api.Unauthorized {
			continue
		}
		if err == nil {
			h.accepted(at.Address, key)
		}
		break
	}
	if err != nil {
		return of(at.Address, err)
	}
	return nil
}

// inOrder returns the keys in the order in which a host is asked: what it has accepted
// last comes first.
func (h *Hosts) inOrder(address string, all []string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	last := h.taken[address]
	i := slices.Index(all, last)
	if i <= 0 {
		return all
	}
	return append([]string{last}, slices.Delete(slices.Clone(all), i, i+1)...)
}

func (h *Hosts) accepted(address, key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.taken == nil || len(h.taken) >= maxTaken {
		h.taken = map[string]string{}
	}
	h.taken[address] = key
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
func (h *Hosts) Stats(ctx context.Context, at Host, model, version string) (s *api.Stats, err error) {
	err = h.ask(ctx, at, func(c *client.Client) (err error) {
		s, err = c.Stats(ctx, model, client.StatsQuery{Version: version, Sketch: true})
		return err
	})
	return s, err
}

// Digest implements Figures.
func (h *Hosts) Digest(ctx context.Context, at Host, model, version string) (string, error) {
	var m *api.Model
	err := h.ask(ctx, at, func(c *client.Client) (err error) {
		m, err = c.Model(ctx, model)
		return err
	})
	if err != nil {
		return "", err
	}
	for i := range m.Versions {
		if m.Versions[i].Version == version {
			return m.Versions[i].Content, nil
		}
	}
	return "", fmt.Errorf("%s serves no %s@%s", at.Address, model, version)
}

// Waits implements Figures. It shows no key, because everybody may ask that.
func (h *Hosts) Waits(ctx context.Context, at Host) (string, error) {
	c, err := client.New(client.Config{URL: "http://" + at.Address, HTTP: h.Client, MaxAnswer: maxAnswer})
	if err != nil {
		return "", of(at.Address, err)
	}
	r, err := c.Ready(ctx)
	if err != nil {
		return "", of(at.Address, err)
	}
	return r.Reason, nil
}

// Samples implements Figures.
func (h *Hosts) Samples(ctx context.Context, at Host, model, version string, after uint64, most int) (s *api.Samples, err error) {
	err = h.ask(ctx, at, func(c *client.Client) (err error) {
		s, err = c.Samples(ctx, model, client.SamplesQuery{Version: version, After: after, Limit: most})
		return err
	})
	return s, err
}

// Replay implements Figures.
func (h *Hosts) Replay(ctx context.Context, at Host, model, version string, rows []api.Sample) (r *api.Replayed, err error) {
	body := api.RowsRequest{Version: version, Data: make([]any, len(rows))}
	for i := range rows {
		body.Data[i] = rows[i].Data
	}
	err = h.ask(ctx, at, func(c *client.Client) (err error) {
		r, err = c.Replay(ctx, model, &body)
		return err
	})
	return r, err
}
