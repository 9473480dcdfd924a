// Package authoring writes versions of models into a directory of models: for a bare
// model file, for a detector that it fits to rows, and for a project of a plugin's
// author. It opens what it writes as a host does.
package authoring

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/printable"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// Author writes into a directory of models, and opens models with backends.
type Author struct {
	Store modelstore.Store
	With  model.Backends
}

// put writes a version with its manifest, and returns its directory.
func (a Author) put(m *manifest.Manifest, files map[string][]byte) (string, error) {
	var err error
	if files[manifest.FileName], err = manifest.Encode(m); err != nil {
		return "", err
	}
	return a.Store.Put(m.ID, m.Version, files)
}

// putVerified is like put, but removes the version again if Verify fails.
func (a Author) putVerified(ctx context.Context, m *manifest.Manifest, files map[string][]byte) (dir string, v *Verdict, err error) {
	if files[manifest.FileName], err = manifest.Encode(m); err != nil {
		return "", nil, err
	}
	dir, err = a.Store.PutChecked(m.ID, m.Version, files, func(at modelstore.Place) error {
		if v, err = a.Verify(ctx, at); err != nil {
			return fmt.Errorf("hosts would refuse %s@%s, so nothing is written: %w", m.ID, m.Version, err)
		}
		return ctx.Err() // who interrupts a command wants no version
	})
	return dir, v, err
}

// Verdict is the result of Verify.
type Verdict struct {
	ID, Version string
	Features    int
	Rows        string // the rows of the probe: golden rows, or made-up rows
	Warnings    []string
	Took        time.Duration
	Fill        batching.Fill   // how calls are filled so that a row's score does not depend on the other rows of its call
	Difference  float64         // largest difference of a row's scores that remains
	Alone       bool            // not compared: the manifest says that rows influence each other
	Limits      manifest.Limits // with the rows of a call that fit the memory, as if the manifest gave them
	Engine      backends.Engine
}

// About returns lines, each after the prefix: what scores rows, if there is a choice, and
// whether a row's score depends on the other rows of its call.
func (v *Verdict) About(prefix string) string {
	switch v.Engine.Name {
	case "":
		return prefix + v.Same() + "\n"
	case backends.EngineRuntime:
		return prefix + "ONNX Runtime scores rows: " + printable.Line(v.Engine.Detail) + "\n" + prefix + v.Same() + "\n"
	case backends.EngineNeighbours:
		return prefix + "a search for " + printable.Line(v.Engine.Detail) + "\n" + prefix + v.Same() + "\n"
	}
	return prefix + "a " + v.Engine.Name + " of " + printable.Line(v.Engine.Detail) + "\n" + prefix + v.Same() + "\n"
}

// Same says whether a row's score depends on the other rows of its call.
func (v *Verdict) Same() string {
	switch {
	case v.Alone:
		return "a row's score depends on other rows, as the manifest says"
	case v.Difference > 0:
		return fmt.Sprintf("a row's score may differ by %.3g with the other rows of its call", v.Difference)
	case v.Fill.Each > 1:
		return fmt.Sprintf("a row's score does not depend on the other rows of its call: calls repeat each row %d times", v.Fill.Each)
	case v.Fill.Rows > 1:
		return fmt.Sprintf("a row's score does not depend on the other rows of its call: calls are filled up to a multiple of %d rows", v.Fill.Rows)
	}
	return "a row's score does not depend on the other rows of its call"
}

// WarnTo writes the warnings, a line each.
func (v *Verdict) WarnTo(to io.Writer) {
	for _, w := range v.Warnings {
		fmt.Fprintf(to, "      warning: %s\n", printable.Line(w))
	}
}

// Check verifies a version and writes a line that says so, and its warnings.
func (a Author) Check(ctx context.Context, to io.Writer, at modelstore.Place) error {
	v, err := a.Verify(ctx, at)
	if err != nil {
		return err
	}
	fmt.Fprintf(to, "ok    %s %s loads and answers %s (%d ms)\n", v.ID, v.Version, v.Rows, v.Took.Milliseconds())
	v.WarnTo(to)
	return nil
}

// Verify loads and probes a version as a host does, and closes it.
func (a Author) Verify(ctx context.Context, at modelstore.Place) (*Verdict, error) {
	start := time.Now()
	m, err := at.Open(ctx, a.With, batching.NewCalls(1))
	if err != nil {
		return nil, err
	}
	v := &Verdict{ID: m.ID(), Version: m.Version(), Features: len(m.Manifest.Features), Rows: "made-up rows", Warnings: m.Warnings, Took: time.Since(start)}
	v.Fill, v.Difference, v.Alone = m.Fill(), m.Difference, m.Manifest.Stateful || m.Manifest.BatchDependent
	v.Engine, v.Limits = m.Engine(), m.Manifest.Limits
	v.Limits.RowsGiven = true
	if m.Manifest.Golden != nil {
		v.Rows = "golden rows"
	}
	return v, m.Close()
}

// VerifyAll verifies every version that the paths name, and calls each with its name
// and its verdict or error.
func (a Author) VerifyAll(ctx context.Context, paths []string, each func(name string, v *Verdict, err error)) error {
	for _, path := range paths {
		all, err := a.Store.Find(path)
		if err != nil {
			return err //nolint:wrapcheck // it names the path
		}
		for _, p := range all {
			name := p.Path()
			if len(all) == 1 {
				name = path
			}
			v, err := a.Verify(ctx, p)
			each(name, v, err)
		}
	}
	return nil
}
