package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/detectors"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// The searches that are measured.
const (
	lofRows     = 5000
	lofFeatures = 20
	lofBatch    = 1000
	lofLargest  = 10_000
	movedBy     = 10_000
)

// searcher is a way of scoring the graph.
type searcher struct {
	name, forests string
	debug         string // GODEBUG of its process
	one, many     float64
}

func searchers() []searcher {
	return []searcher{
		{name: "ONNX Runtime, the graph unchanged", forests: onnx.ForestsOff},
		{name: "host", forests: onnx.ForestsAuto, one: 250, many: 6},
		{name: "host, plain Go", forests: onnx.ForestsAuto, debug: "cpu.avx2=off", one: 80, many: 1.8},
	}
}

// neighbours measures a local outlier factor against 5,000 training rows of 20 features.
func neighbours(ctx context.Context, o options, w io.Writer) error {
	dir, err := os.MkdirTemp("", "bench-*")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	fmt.Fprintf(w, "Local outlier factor, %d x %d, 20 neighbours: CPU µs a row in one thread; medians (quartiles) of %d runs in turns\n\n", lofRows, lofFeatures, o.runs)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "data\tengine\t1 row\tONNX Runtime / it\t\t%d rows\tONNX Runtime / it\t\tflags unlike direct distances\n", lofBatch)
	for _, moved := range []float64{0, movedBy} {
		if err := engineRows(ctx, o, t, dir, moved); err != nil {
			return err
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	return fitAndServe(ctx, o, w, dir)
}

// engineRows measures all engines with one graph.
func engineRows(ctx context.Context, o options, w io.Writer, dir string, moved float64) error {
	d, err := newDistances(moved)
	if err != nil {
		return err
	}
	graph := filepath.Join(dir, fmt.Sprintf("lof-%v.onnx", moved))
	if err := os.WriteFile(graph, d.fitted.Graph, 0o600); err != nil {
		return fmt.Errorf("writing a graph: %w", err)
	}
	all := searchers()
	procs := make([]*asked, len(all))
	for i, e := range all {
		if procs[i], err = ask(ctx, e.debug, o.library, graph, e.forests, fmt.Sprint(moved)); err != nil {
			return err
		}
		defer func() { _ = procs[i].close() }()
	}
	one, many, unlike := make([][]float64, len(all)), make([][]float64, len(all)), make([]int, len(all))
	for range o.runs {
		for i, a := range procs {
			got, err := a.turn()
			if err != nil {
				return fmt.Errorf("measuring %s: %w", all[i].name, err)
			}
			one[i], many[i], unlike[i] = append(one[i], got.One), append(many[i], got.Many), d.unlike(got.Scores)
		}
	}
	for i, e := range all {
		a, b := spreadOf(ratios(one[0], one[i])), spreadOf(ratios(many[0], many[i]))
		notes := [2]string{}
		if e.one > 0 {
			notes = [2]string{verdict(fmt.Sprintf("at least %v", e.one), a.median >= e.one), verdict(fmt.Sprintf("at least %v", e.many), b.median >= e.many)}
		}
		fmt.Fprintf(w, "moved by %v\t%s\t%v\t%v\t%s\t%v\t%v\t%s\t%d of %d\n", moved, e.name, spreadOf(one[i]), a, notes[0], spreadOf(many[i]), b, notes[1], unlike[i], lofBatch)
	}
	return nil
}

// distances are a fitted graph, rows and their exact scores.
type distances struct {
	fitted    detectors.Fitted
	queries   []float32
	exact     []float64
	threshold float64
}

func newDistances(moved float64) (*distances, error) {
	train, queries := drawn(1, lofRows, moved), drawn(2, lofBatch, moved)
	lof, err := detectorNamed("lof")
	if err != nil {
		return nil, err
	}
	f, err := lof.Fit(detectors.Rows{Features: lofFeatures, Values: train}, detectors.Defaults())
	if err != nil {
		return nil, fmt.Errorf("fitting: %w", err)
	}
	d := &distances{fitted: *f, queries: queries, exact: exactFactors(train, queries)}
	d.threshold = spreadOf(d.exact).high
	return d, nil
}

func detectorNamed(name string) (detectors.Detector, error) {
	for _, d := range detectors.All() {
		if d.Name == name {
			return d, nil
		}
	}
	return detectors.Detector{}, errors.New("no detector " + name)
}

// unlike counts the rows that the scores put on the other side of the threshold than the
// exact ones. Exact scores within 1e-6 of it count for neither.
func (d *distances) unlike(scores []float64) int {
	n := 0
	for i, v := range d.exact {
		if math.Abs(v-d.threshold) > 1e-6 && (v > d.threshold) != (scores[i] > d.threshold) {
			n++
		}
	}
	return n
}

// turn is one measurement of an engine.
type turn struct {
	One, Many float64 // CPU µs a row
	Scores    []float64
}

// asked is a process that measures an engine when it is asked to.
type asked struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func ask(ctx context.Context, debug string, args ...string) (*asked, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this binary: %w", err)
	}
	a := &asked{cmd: exec.CommandContext(ctx, exe, append([]string{roleNeighbours}, args...)...)}
	a.cmd.Env, a.cmd.Stderr = append(os.Environ(), "GODEBUG="+debug, "GOMAXPROCS=1"), os.Stderr
	in, err1 := a.cmd.StdinPipe()
	out, err2 := a.cmd.StdoutPipe()
	if err := errors.Join(err1, err2, a.cmd.Start()); err != nil {
		return nil, fmt.Errorf("starting an engine: %w", err)
	}
	a.in, a.out = in, bufio.NewReader(out)
	return a, nil
}

func (a *asked) turn() (t turn, err error) {
	if _, err := fmt.Fprintln(a.in); err != nil {
		return t, fmt.Errorf("asking: %w", err)
	}
	line, err := a.out.ReadBytes('\n')
	if err != nil {
		return t, fmt.Errorf("reading the answer: %w", err)
	}
	return t, json.Unmarshal(line, &t)
}

func (a *asked) close() error { return errors.Join(a.in.Close(), a.cmd.Wait()) }

// measureEngine is the main function of asked's process. args are the library, the graph,
// what is done with forests, and how far the rows are moved.
func measureEngine(args []string) error {
	var moved float64
	if _, err := fmt.Sscan(args[3], &moved); err != nil {
		return fmt.Errorf("reading how far rows are moved: %w", err)
	}
	s, err := openGraph(args[0], args[1], args[2])
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	in := sdk.NewBatch(s.Info().Features)
	in.Resize(lofBatch)
	copy(in.Float32s(), drawn(2, lofBatch, moved))
	out := json.NewEncoder(os.Stdout)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		t := turn{Scores: make([]float64, lofBatch)}
		if t.One, err = perRow(func(i int) error { return s.Score(context.Background(), in.Slice(i, i+1), t.Scores[i:i+1]) }, 1); err != nil {
			return err
		}
		if t.Many, err = perRow(func(int) error { return s.Score(context.Background(), in, t.Scores) }, lofBatch); err != nil {
			return err
		}
		if err := out.Encode(t); err != nil {
			return fmt.Errorf("answering: %w", err)
		}
	}
	return nil
}

// perRow calls f for a tenth of a second of CPU, and returns the CPU µs of a row.
func perRow(f func(i int) error, rows int) (float64, error) {
	begin, calls := cpuTime(), 0
	for cpuTime()-begin < 100*time.Millisecond {
		if err := f(calls % lofBatch); err != nil {
			return 0, fmt.Errorf("scoring: %w", err)
		}
		calls++
	}
	return micros(cpuTime()-begin) / float64(calls*rows), nil
}

// openGraph opens a graph as the host does.
func openGraph(library, file, forests string) (sdk.Scorer, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading a graph: %w", err)
	}
	b := onnx.New(onnx.Config{Library: library, Forests: forests, Probe: onnx.ProbeInProcess, Log: slog.New(slog.DiscardHandler)})
	m := manifest.Defaults()
	m.ID, m.Derived, m.Output.Name = "lof", true, detectors.Output
	m.Limits.LoadTimeout = 10 * time.Minute
	a := backends.Artifact{Manifest: m, Bytes: data}
	d, err := b.Inspect(context.Background(), a)
	if err != nil {
		return nil, fmt.Errorf("reading a graph: %w", err)
	}
	a.Manifest = m.With(d)
	a.ProbeRows = sdk.NewBatch(a.Manifest.SDKFeatures())
	a.ProbeRows.Resize(1)
	s, err := b.Open(context.Background(), a)
	if err != nil {
		return nil, fmt.Errorf("opening a graph: %w", err)
	}
	if e, ok := s.(backends.EngineReporter); forests == onnx.ForestsAuto && (!ok || e.Engine().Name != backends.EngineNeighbours) {
		return nil, fmt.Errorf("the graph is not served by the host: %+v", e.Engine())
	}
	return s, nil
}

// fitAndServe measures `model fit lof`, and the memory of the largest call.
func fitAndServe(ctx context.Context, o options, w io.Writer, dir string) error {
	file, models := filepath.Join(dir, "train.csv"), filepath.Join(dir, "models")
	if err := os.WriteFile(file, []byte(asCSV(drawn(1, lofRows, 0))), 0o600); err != nil {
		return fmt.Errorf("writing training rows: %w", err)
	}
	cmd := exec.CommandContext(ctx, o.binary, "model", "fit", "lof", "--data", file, "--id", "lof", "--models", models)
	begin := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("fitting: %w: %s", err, out)
	}
	took, cpu := time.Since(begin), cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()
	fmt.Fprintf(w, "model fit lof, a CSV of %d x %d: %.2f s, %.2f s of CPU; %s\n", lofRows, lofFeatures, took.Seconds(), cpu.Seconds(), verdict("under 2 s", took < 2*time.Second))
	host, err := startHost(ctx, o, models, filepath.Join(dir, "state"))
	if err != nil {
		return err
	}
	defer func() { _ = host.stop() }()
	grown, err := memoryOfCall(ctx, host)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "a request of %d rows as arrays: the host's memory grows by %.1f MiB at most, the JSON (%.1f MiB) included; %s\n",
		lofLargest, float64(grown)/(1<<20), float64(len(arrays(lofLargest)))/(1<<20), verdict("under 64 MiB", grown < 64<<20))
	return err
}

func asCSV(values []float32) string {
	var b strings.Builder
	for j := range lofFeatures {
		fmt.Fprintf(&b, "%sf%d", []string{"", ","}[min(j, 1)], j)
	}
	for i, v := range values {
		fmt.Fprintf(&b, "%s%v", []string{"\n", ","}[min(i%lofFeatures, 1)], v)
	}
	return b.String() + "\n"
}

// arrays returns the body of a request of n rows.
func arrays(n int) []byte {
	values := drawn(3, n, 0)
	rows := make([][]float32, n)
	for i := range rows {
		rows[i] = values[i*lofFeatures : (i+1)*lofFeatures]
	}
	body, _ := json.Marshal(map[string]any{"model_id": "lof", "data": rows}) // numbers are finite
	return body
}

// memoryOfCall returns by how much a request of 10,000 rows exceeds the memory that the
// host has after one of two rows.
func memoryOfCall(ctx context.Context, host *process) (int64, error) {
	c, err := dial(ctx, host.addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	const path = "/api/v1/predict/batch"
	if _, err := c.send(message(host.addr, path, "", arrays(2))); err != nil {
		return 0, err
	}
	before, err := host.resident()
	if err != nil {
		return 0, err
	}
	if err := host.forgetPeak(); err != nil {
		return 0, err
	}
	if _, err := c.send(message(host.addr, path, "", arrays(lofLargest))); err != nil {
		return 0, err
	}
	peak, err := host.peak()
	return peak - before, err
}
