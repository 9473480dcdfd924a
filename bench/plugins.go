package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/wasm"
	"github.com/pynomaly/pynomaly-runtime/internal/digest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/plugins/fit"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// plugins measures what the host adds to the cost of a WASM plugin, and how long
// loading one takes.
func plugins(ctx context.Context, o options, w io.Writer) error {
	if err := guestShare(ctx, o, w); err != nil {
		return err
	}
	fmt.Fprintln(w)
	return loading(ctx, o, w)
}

// readTable reads a CSV file of numbers.
func readTable(file string) (header []string, d fit.Data, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, d, fmt.Errorf("reading rows: %w", err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, d, fmt.Errorf("reading rows: %w", err)
	}
	d = fit.Data{Rows: len(all) - 1, Cols: len(all[0])}
	for _, record := range all[1:] {
		for _, cell := range record {
			v, err := strconv.ParseFloat(cell, 64)
			if err != nil {
				return nil, d, fmt.Errorf("reading rows: %w", err)
			}
			d.Values = append(d.Values, v)
		}
	}
	return all[0], d, nil
}

const pluginRows = 1000

// guest is a module as a model for the benchmark: ECOD with the cardio rows.
type guest struct {
	name     string
	module   []byte
	manifest *manifest.Manifest
	files    map[string][]byte
	rows     fit.Data
}

func newECOD(o options, name, file string) (*guest, error) {
	module, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading a module: %w", err)
	}
	header, train, err := readTable(filepath.Join(o.testdata, "reference", "data", "cardio-train.csv"))
	if err != nil {
		return nil, err
	}
	_, test, err := readTable(filepath.Join(o.testdata, "reference", "data", "cardio-test.csv"))
	if err != nil {
		return nil, err
	}
	m := manifest.Defaults()
	m.ID, m.Version, m.Backend, m.Artifact = name, "1.0.0", manifest.BackendWASM, "detector.wasm"
	for _, h := range header {
		m.Features = append(m.Features, manifest.Feature{Feature: sdk.Feature{Name: h, DType: sdk.Float64}})
	}
	files := map[string][]byte{fit.TrainFile: fit.Columns(train)}
	m.Files = map[string]string{}
	for name, data := range files {
		m.Files[name] = digest.Of(data)
	}
	return &guest{name: name, module: module, manifest: m, files: files, rows: test}, nil
}

// write writes the model into a models directory.
func (g *guest) write(dir string) error {
	to := filepath.Join(dir, g.manifest.ID, g.manifest.Version)
	if err := os.MkdirAll(to, 0o755); err != nil {
		return fmt.Errorf("writing a model: %w", err)
	}
	text, err := manifest.Encode(g.manifest)
	if err != nil {
		return err
	}
	all := map[string][]byte{manifest.FileName: text, g.manifest.Artifact: g.module}
	for name, data := range g.files {
		all[name] = data
	}
	for name, data := range all {
		if err := os.WriteFile(filepath.Join(to, name), data, 0o600); err != nil {
			return fmt.Errorf("writing a model: %w", err)
		}
	}
	return nil
}

// body returns a batch of rows as arrays.
func (g *guest) body() ([]byte, error) {
	rows := make([][]float64, pluginRows)
	for i := range rows {
		rows[i] = g.rows.Row(i % g.rows.Rows)
	}
	body, err := json.Marshal(map[string]any{"model_id": g.manifest.ID, "data": rows, "return_confidence": false})
	if err != nil {
		return nil, fmt.Errorf("writing a request: %w", err)
	}
	return body, nil
}

// open opens the module with the backend, without a host.
func (g *guest) open(ctx context.Context, b *wasm.Backend) (sdk.Scorer, error) {
	return b.Open(ctx, backends.Artifact{Manifest: g.manifest, Bytes: g.module, Files: g.files})
}

func newBackend(cache string) (*wasm.Backend, error) {
	b := wasm.New(wasm.Config{CacheDir: cache, Instances: 1, Log: slog.New(slog.DiscardHandler)})
	return b, b.Err()
}

// own measures the processor time of calling the guest, in µs per row.
func (g *guest) own(ctx context.Context, s sdk.Scorer, lasting time.Duration) (float64, error) {
	in := sdk.NewBatch(s.Info().Features)
	in.Resize(pluginRows)
	for i := range pluginRows {
		copy(in.Float64s()[i*g.rows.Cols:], g.rows.Row(i%g.rows.Rows))
	}
	out := make([]float64, pluginRows)
	n := 0
	var from unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &from); err != nil {
		return 0, fmt.Errorf("reading the processor time: %w", err)
	}
	for begin := time.Now(); time.Since(begin) < lasting; n++ {
		if err := s.Score(ctx, in, out); err != nil {
			return 0, fmt.Errorf("scoring: %w", err)
		}
	}
	var to unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &to); err != nil {
		return 0, fmt.Errorf("reading the processor time: %w", err)
	}
	used := to.Utime.Nano() - from.Utime.Nano() + to.Stime.Nano() - from.Stime.Nano()
	return float64(used) / 1e3 / float64(n*pluginRows), nil
}

// guestShare compares the host's processor time for a batch over REST with that of
// only calling the guest.
func guestShare(ctx context.Context, o options, w io.Writer) error {
	dir, err := os.MkdirTemp("", "bench-*")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	guests := []*guest{}
	for name, file := range map[string]string{
		"ecod-c": filepath.Join(o.testdata, "models", "ecod-c", "1.0.0", "detector.wasm"), "ecod-go": filepath.Join(filepath.Dir(o.binary), "plugins", "ecod.wasm"),
	} {
		g, err := newECOD(o, name, file)
		if err != nil {
			return err
		}
		if err := g.write(filepath.Join(dir, "models")); err != nil {
			return err
		}
		guests = append(guests, g)
	}
	host, err := startHost(ctx, o, filepath.Join(dir, "models"), filepath.Join(dir, "state"))
	if err != nil {
		return err
	}
	defer func() { _ = host.stop() }()
	b, err := newBackend("")
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	through, own, err := measureGuests(ctx, o, host, b, guests)
	if err != nil {
		return err
	}
	return reportGuests(w, o, guests, through, own)
}

// measureGuests returns for each guest and run the CPU per row through the host, and
// that of only calling the guest.
func measureGuests(ctx context.Context, o options, host *process, b *wasm.Backend, guests []*guest) (through, own map[string][]float64, err error) {
	through, own = map[string][]float64{}, map[string][]float64{}
	for range o.runs {
		for _, g := range guests {
			s, err := g.open(ctx, b)
			if err != nil {
				return nil, nil, err
			}
			alone, err := g.own(ctx, s, o.duration)
			if err = errors.Join(err, s.Close()); err != nil {
				return nil, nil, err
			}
			body, err := g.body()
			if err != nil {
				return nil, nil, err
			}
			m, err := measure(ctx, host, "/api/v1/predict/batch", body, 4, o.warm, o.duration)
			if err != nil {
				return nil, nil, err
			}
			own[g.name] = append(own[g.name], alone)
			through[g.name] = append(through[g.name], m.cpuMicros()/pluginRows)
		}
	}
	return through, own, nil
}

func reportGuests(w io.Writer, o options, guests []*guest, through, own map[string][]float64) error {
	fmt.Fprintf(w, "WASM plugins through REST: ECOD, 21 features, batches of %d rows as arrays; CPU µs a row, medians (quartiles) of %d runs\n\n", pluginRows, o.runs)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "guest\thost in all\tthe guest's call\toutside the guest")
	for _, g := range guests {
		outside := make([]float64, len(own[g.name]))
		for i := range outside {
			outside[i] = 100 * (1 - own[g.name][i]/through[g.name][i])
		}
		share := spreadOf(outside)
		note := ""
		if g.name == "ecod-c" {
			note = verdict("under 30%", share.median < 30)
		}
		fmt.Fprintf(t, "%s\t%v\t%v\t%v%%\t%s\n", g.name, spreadOf(through[g.name]), spreadOf(own[g.name]), share, note)
	}
	return t.Flush()
}

// loading measures opening a Go plugin with a new backend, first with an empty cache
// and then with the module's code in the cache.
func loading(ctx context.Context, o options, w io.Writer) error {
	g, err := newECOD(o, "ecod-go", filepath.Join(filepath.Dir(o.binary), "plugins", "ecod.wasm"))
	if err != nil {
		return err
	}
	var cold, warm []float64
	for range o.runs {
		dir, err := os.MkdirTemp("", "bench-*")
		if err != nil {
			return fmt.Errorf("making a directory: %w", err)
		}
		for _, to := range []*[]float64{&cold, &warm} {
			b, err := newBackend(dir)
			if err != nil {
				return errors.Join(err, os.RemoveAll(dir))
			}
			begin := time.Now()
			s, err := g.open(ctx, b)
			*to = append(*to, millis(time.Since(begin)))
			if err == nil {
				err = s.Close()
			}
			if err != nil {
				return errors.Join(err, os.RemoveAll(dir))
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("removing the cache: %w", err)
		}
	}
	c, h := spreadOf(cold), spreadOf(warm)
	fmt.Fprintf(w, "Loading a Go plugin of %.1f MB, ms, medians (quartiles) of %d: cold %v; %s\n", float64(len(g.module))/1e6, o.runs, c, verdict("under 2,000", c.median < 2000))
	_, err = fmt.Fprintf(w, "with its code in the cache %v; %s\n", h, verdict("under 100", h.median < 100))
	return err
}

// compileRole makes this binary compile modules for the backend, as the host does.
func compileRole([]string) error {
	var out bytes.Buffer
	err := wasm.CompileMain(os.Stdin, &out)
	_, printed := os.Stdout.Write(out.Bytes())
	return errors.Join(err, printed)
}
