package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	processes "github.com/pynomaly/pynomaly-runtime/backends/process"
	"github.com/pynomaly/pynomaly-runtime/internal/digest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/plugins/ecod"
	"github.com/pynomaly/pynomaly-runtime/plugins/fit"
	"github.com/pynomaly/pynomaly-runtime/sdk"
	guestsdk "github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

// wide returns ECOD for the 30 features of the forest's rows, in one of its forms.
func wide(o options, id, backend, file string) (*guest, error) {
	artifact, err := os.ReadFile(filepath.Join(filepath.Dir(o.binary), "plugins", file))
	if err != nil {
		return nil, fmt.Errorf("reading a plugin: %w", err)
	}
	header, train, err := readTable(filepath.Join(o.testdata, "bench", "rows.csv"))
	if err != nil {
		return nil, err
	}
	m := manifest.Defaults()
	m.ID, m.Version, m.Backend, m.Artifact = id, "1.0.0", backend, "detector.bin"
	for _, h := range header {
		m.Features = append(m.Features, manifest.Feature{Feature: sdk.Feature{Name: h, DType: sdk.Float64}})
	}
	files := map[string][]byte{fit.TrainFile: fit.Columns(train)}
	m.Files = map[string]string{fit.TrainFile: digest.Of(files[fit.TrainFile])}
	return &guest{name: id, module: artifact, manifest: m, files: files, rows: train}, nil
}

func pluginUser() string {
	if os.Geteuid() == 0 {
		return "nobody"
	}
	return ""
}

// programs compares a process plugin with the same detector as a WASM module and
// with a direct call.
func programs(ctx context.Context, o options, w io.Writer) error {
	asProcess, err := wide(o, "ecod-process", manifest.BackendProcess, "ecod")
	if err != nil {
		return err
	}
	asModule, err := wide(o, "ecod-wasm", manifest.BackendWASM, "ecod.wasm")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-*")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := oneRow(ctx, o, w, dir, asProcess, asModule); err != nil {
		return err
	}
	fmt.Fprintln(w)
	return batches(ctx, o, w, dir, asProcess)
}

// oneRow measures the latency of one row over REST.
func oneRow(ctx context.Context, o options, w io.Writer, dir string, asProcess, asModule *guest) error {
	models, file := filepath.Join(dir, "models"), filepath.Join(dir, "plugins.yaml")
	if err := errors.Join(asProcess.write(models), asModule.write(models)); err != nil {
		return err
	}
	text := fmt.Sprintf("backends: {process: {enabled: true, user: %q, allow: [{path: %s}]}}\n", pluginUser(), models)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	addr, err := freeAddress()
	if err != nil {
		return err
	}
	host, err := start(ctx, addr, "/ready", o.binary, append(hostArgs(addr, models, filepath.Join(dir, "state")), "--config", file)...)
	if err != nil {
		return err
	}
	defer func() { _ = host.stop() }()
	p50, p99 := map[string][]float64{}, map[string][]float64{}
	var ratio []float64
	for range o.runs {
		for _, g := range []*guest{asModule, asProcess} {
			body, err := json.Marshal(map[string]any{"model_id": g.manifest.ID, "data": g.rows.Row(0)})
			if err != nil {
				return fmt.Errorf("writing a request: %w", err)
			}
			m, err := measure(ctx, host, "/api/v1/predict", body, 1, o.warm, o.duration)
			if err != nil {
				return err
			}
			p50[g.name], p99[g.name] = append(p50[g.name], micros(m.p50)), append(p99[g.name], micros(m.p99))
		}
		n := len(p50[asModule.name]) - 1
		ratio = append(ratio, p50[asProcess.name][n]/p50[asModule.name][n])
	}
	fmt.Fprintf(w, "Process plugins through REST: ECOD, 30 features, one row, 1 connection; µs, medians (quartiles) of %d runs\n\n", o.runs)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "plugin\tmedian\tp99")
	for _, g := range []*guest{asModule, asProcess} {
		fmt.Fprintf(t, "%s\t%v\t%v\n", g.name, spreadOf(p50[g.name]), spreadOf(p99[g.name]))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	share := spreadOf(ratio)
	_, err = fmt.Fprintf(w, "process / WASM %v; %s\n", share, verdict("at most 2.5", share.median <= 2.5))
	return err
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// batches compares the rate of a process plugin, called by the backend, with a
// direct call of the same code.
func batches(ctx context.Context, o options, w io.Writer, dir string, g *guest) error {
	models := filepath.Join(dir, "models")
	b := processes.New(processes.Config{
		Allow: []processes.Allowed{{Path: models}}, User: pluginUser(), Random: rand.Float64, Log: slog.New(slog.DiscardHandler), Exe: o.binary,
	})
	defer func() { _ = b.Close() }()
	if err := b.Err(); err != nil {
		return err
	}
	remote, err := b.Open(ctx, backends.Artifact{Manifest: g.manifest, Bytes: g.module, Files: g.files, Dir: models})
	if err != nil {
		return err
	}
	defer func() { _ = remote.Close() }()
	setup := guestsdk.Setup{Files: g.files}
	for _, f := range g.manifest.Features {
		setup.Features = append(setup.Features, guestsdk.Feature{Name: f.Name, DType: "float64"})
	}
	direct, err := guestsdk.NewScorer(ecod.New(), setup)
	if err != nil {
		return err
	}
	in, out := sdk.NewBatch(remote.Info().Features), make([]float64, pluginRows)
	in.Resize(pluginRows)
	for i := range pluginRows {
		copy(in.Float64s()[i*g.rows.Cols:], g.rows.Row(i%g.rows.Rows))
	}
	rate := func(s sdk.Scorer) (float64, error) {
		n := 0
		begin := time.Now()
		for ; time.Since(begin) < o.duration; n++ {
			if err := s.Score(ctx, in, out); err != nil {
				return 0, fmt.Errorf("scoring: %w", err)
			}
		}
		return float64(n*pluginRows) / time.Since(begin).Seconds(), nil
	}
	var near, far, ratio []float64
	for range o.runs {
		a, err := rate(direct)
		if err != nil {
			return err
		}
		c, err := rate(remote)
		if err != nil {
			return err
		}
		near, far, ratio = append(near, a/1e3), append(far, c/1e3), append(ratio, c/a)
	}
	share := spreadOf(ratio)
	_, err = fmt.Fprintf(w, "Batches of %d x 30, thousand rows/s: a direct call %v, a process plugin %v; %v of it; %s\n",
		pluginRows, spreadOf(near), spreadOf(far), share, verdict("at least 0.7", share.median >= 0.7))
	return err
}
