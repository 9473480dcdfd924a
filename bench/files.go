package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/internal/table"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Sizes of the files.
const (
	fileColumns = 21
	fileRows    = 300_000
	longRows    = 4 * fileRows
	trainedRows = 10_000
	lofColumns  = 20
)

// usage is what a command took.
type usage struct {
	cpu, wall time.Duration
	peak      int64 // resident bytes
}

// filesOf are the files that are measured.
type filesOf struct{ dir, csv, longCSV, parquet, longParquet, train, lof, models, state string }

// files measures `predict` and `model fit` on files.
func files(ctx context.Context, o options, w io.Writer) error {
	dir, err := os.MkdirTemp("", "bench-*")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this binary: %w", err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	f := filesOf{dir, in("rows.csv"), in("long.csv"), in("rows.parquet"), in("long.parquet"), in("train.csv"), in("lof.csv"), in("models"), in("state")}
	if err := f.make(ctx, o, self); err != nil {
		return err
	}
	one := in("one.csv")
	if err := writeRows(one, 1, fileColumns); err != nil {
		return err
	}
	predict := func(input string) []string {
		return []string{o.binary, "predict", "forest", input, "--models", f.models, "--state-dir", f.state, "--quiet", "--output", in("out" + filepath.Ext(input))}
	}
	fit := func(detector, data string) []string {
		return []string{o.binary, "model", "fit", detector, "--data", data, "--id", "fitted", "--models", in("fitted"), "--state-dir", f.state}
	}
	commands := []struct {
		name string
		args []string
	}{
		{"one row", predict(one)},
		{"CSV", predict(f.csv)}, {"CSV, 4 times as long", predict(f.longCSV)},
		{"Parquet", predict(f.parquet)}, {"Parquet, 4 times as long", predict(f.longParquet)},
		{"reading the CSV", []string{self, roleReadRows, f.csv}},
		{"fit iforest", fit("iforest", f.csv)}, {"fit lof", fit("lof", f.lof)},
	}
	got := map[string][]usage{}
	for range o.runs {
		for _, c := range commands {
			if err := os.RemoveAll(in("fitted")); err != nil {
				return fmt.Errorf("removing a model: %w", err)
			}
			u, err := timed(ctx, o, c.args)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			got[c.name] = append(got[c.name], u)
		}
	}
	return reportFiles(o, w, got)
}

// make writes the files and fits the forest. self is this binary.
func (f *filesOf) make(ctx context.Context, o options, self string) error {
	for _, c := range []struct {
		name          string
		rows, columns int
	}{{f.csv, fileRows, fileColumns}, {f.longCSV, longRows, fileColumns}, {f.train, trainedRows, fileColumns}, {f.lof, lofRows, lofColumns}} {
		if err := writeRows(c.name, c.rows, c.columns); err != nil {
			return err
		}
	}
	if _, err := timed(ctx, o, []string{o.binary, "model", "fit", "iforest", "--data", f.train, "--id", "forest", "--models", f.models, "--state-dir", f.state}); err != nil {
		return err
	}
	for _, c := range [][2]string{{f.csv, f.parquet}, {f.longCSV, f.longParquet}} {
		if _, err := timed(ctx, o, []string{self, roleToParquet, c[0], c[1]}); err != nil {
			return err
		}
	}
	return nil
}

// writeRows writes a CSV of random numbers with eight decimals. Equal sizes have equal
// rows.
func writeRows(name string, n, columns int) error {
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("making a file: %w", err)
	}
	defer f.Close()
	random := rand.New(rand.NewPCG(1, 2))
	w := bufio.NewWriterSize(f, 1<<20)
	var line []byte
	for j := range columns {
		line = strconv.AppendInt(append(line, ",f"...), int64(j), 10)
	}
	_, _ = w.Write(append(line[1:], '\n')) // Flush tells the error
	for range n {
		line = line[:0]
		for j := range columns {
			if j > 0 {
				line = append(line, ',')
			}
			line = strconv.AppendFloat(line, random.NormFloat64()*float64(1+j%3), 'f', 8, 64)
		}
		_, _ = w.Write(append(line, '\n')) // Flush tells the error
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// timed runs a command and returns what it and its children took.
func timed(ctx context.Context, o options, args []string) (usage, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "PYNOMALY_BACKENDS_ONNX_LIBRARY="+o.library)
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return usage{}, fmt.Errorf("running %s: %w: %s", args[1], err, out)
	}
	u := usage{cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), wall: time.Since(start)}
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.peak = r.Maxrss << 10
	}
	return u, nil
}

// roleReadRows is this binary reading a CSV as `model fit` does.
const roleReadRows = "read-rows"

func readRows(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: read-rows FILE")
	}
	f, err := os.Open(args[0])
	if err != nil {
		return fmt.Errorf("opening the rows: %w", err)
	}
	defer f.Close()
	t, err := table.Open(table.CSV, f, io.Discard, fileSchema(), table.Options{})
	if err != nil {
		return fmt.Errorf("reading the header: %w", err)
	}
	d := fileSchema().NewDecoder()
	for {
		if _, err := t.Read(d, 1000); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading the rows: %w", err)
		}
	}
}

func fileSchema() *rows.Schema {
	m := manifest.Defaults()
	for j := range fileColumns {
		m.Features = append(m.Features, manifest.Feature{Feature: sdk.Feature{Name: "f" + strconv.Itoa(j), DType: sdk.Float32}})
	}
	return rows.NewSchema(m)
}

// reportFiles prints what the commands took, beside the targets.
func reportFiles(o options, w io.Writer, got map[string][]usage) error {
	figure := func(name string, of func(usage) float64) spread {
		var all []float64
		for _, u := range got[name] {
			all = append(all, of(u))
		}
		return spreadOf(all)
	}
	cpu, wall := func(u usage) float64 { return u.cpu.Seconds() }, func(u usage) float64 { return u.wall.Seconds() }
	cores := func(u usage) float64 { return u.cpu.Seconds() / u.wall.Seconds() }
	peak := func(u usage) float64 { return float64(u.peak) / (1 << 20) }
	begin := figure("one row", cpu).median
	fmt.Fprintf(w, "Files: %d rows of %d columns and 4 times as many; a forest of 100 trees; medians (quartiles) of %d runs in turns; starting takes %.2f s of CPU, which is not in the figures of a row\n\n", fileRows, fileColumns, o.runs, begin)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "predict\tCPU µs a row\tseconds\tcores busy\tpeak MiB\t")
	for _, c := range []struct {
		name string
		rows float64
		most float64
	}{{"CSV", fileRows, 3}, {"CSV, 4 times as long", longRows, 3}, {"Parquet", fileRows, 1.8}, {"Parquet, 4 times as long", longRows, 1.8}} {
		row := figure(c.name, func(u usage) float64 { return (u.cpu.Seconds() - begin) / c.rows * 1e6 })
		fmt.Fprintf(t, "%s\t%v\t%v\t%.2f\t%.0f\t%s\n", c.name, row, figure(c.name, wall), figure(c.name, cores).median, figure(c.name, peak).median, verdict(fmt.Sprintf("at most %g µs", c.most), row.median <= c.most))
	}
	_ = t.Flush()
	fmt.Fprintln(w)
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "model fit\tCPU s\tseconds\t")
	read := figure("reading the CSV", wall)
	fmt.Fprintf(t, "reading the CSV\t%v\t%v\t\n", figure("reading the CSV", cpu), read)
	var times []float64
	for i, u := range got["fit iforest"] {
		times = append(times, u.wall.Seconds()/got["reading the CSV"][i].wall.Seconds())
	}
	ratio := spreadOf(times)
	fmt.Fprintf(t, "iforest on the CSV\t%v\t%v\t%v times the reading; %s\n", figure("fit iforest", cpu), figure("fit iforest", wall), ratio, verdict("at most 2", ratio.median <= 2))
	lof := figure("fit lof", wall)
	fmt.Fprintf(t, "lof on %d x %d\t%v\t%v\t%s\n", lofRows, lofColumns, figure("fit lof", cpu), lof, verdict("under 2 s", lof.median < 2))
	return t.Flush() //nolint:wrapcheck // it is the writer's
}
