package onnx

import (
	"errors"
	"fmt"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// checked is a checked graph, with its bytes and the limits that applied.
type checked struct {
	bytes  []byte
	limits graph.Limits
	model  *graph.Model
}

// of reports whether the graph was read from the same slice, under the same
// limits.
func (c *checked) of(bytes []byte, limits graph.Limits) bool {
	return c.limits == limits && len(c.bytes) == len(bytes) && len(bytes) > 0 && &c.bytes[0] == &bytes[0]
}

// check reads a graph and refuses it if ONNX Runtime must not load it. rows is the
// largest call that fits the memory: the manifest's, or fewer if it does not say. It
// reuses what Inspect has checked unless the limits have changed since.
func check(a backends.Artifact) (_ *graph.Model, rows int, err error) {
	m := a.Manifest
	limits := graph.Limits{Trusted: m.Trusted, Rows: m.Limits.MaxBatchRows, Columns: len(m.Features), Memory: m.Limits.Memory}
	if a.Memo != nil {
		if c, ok := a.Memo.Value.(*checked); ok && c.of(a.Bytes, limits) {
			return c.model, limits.Rows, nil
		}
	}
	g, err := graph.Check(a.Bytes, limits)
	var p *graph.Problem
	if errors.As(err, &p) && p.Code == graph.TooLarge && !m.Limits.RowsGiven {
		g, limits.Rows, err = checkFewer(a.Bytes, limits, err)
	}
	if err == nil {
		g, err = g.Unzipped(limits)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", backends.ErrRefused, backends.Ownf("checking the graph: %w", err))
	}
	if a.Memo != nil {
		a.Memo.Value = &checked{a.Bytes, limits, g}
	}
	return g, limits.Rows, nil
}

// checkFewer halves the rows of a call until the graph passes the check. It returns the
// error err if one row is too many.
func checkFewer(data []byte, limits graph.Limits, err error) (*graph.Model, int, error) {
	rows := limits.Rows
	limits.Rows = 1
	g, fails := graph.Check(data, limits)
	if fails != nil {
		return nil, 0, err
	}
	for rows /= 2; rows > 1; rows /= 2 {
		limits.Rows = rows
		if more, err := graph.Check(data, limits); err == nil {
			return more, rows, nil
		}
	}
	return g, 1, nil
}

// Check refuses a graph that no host proves, without ONNX Runtime.
func Check(a backends.Artifact) error {
	if a.Memo == nil {
		a.Memo = new(backends.Memo)
	}
	d, _, err := inspect(a)
	if err != nil {
		return err
	}
	a.Manifest = a.Manifest.With(d)
	g, _, err := check(a)
	if err != nil {
		return err
	}
	if _, err = bindGraph(a.Manifest, g); err != nil {
		return fmt.Errorf("%w: %w", backends.ErrRefused, &backends.OwnError{Err: err})
	}
	return nil
}

func inspect(a backends.Artifact) (manifest.Derived, *graph.Model, error) {
	g, rows, err := check(a)
	if err != nil {
		return manifest.Derived{}, nil, err
	}
	d, err := derive(a.Manifest, g)
	if err != nil {
		return manifest.Derived{}, nil, fmt.Errorf("%w: %w", backends.ErrRefused, &backends.OwnError{Err: err})
	}
	d.MaxBatchRows = rows
	return d, g, nil
}
