package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	ort "github.com/yalue/onnxruntime_go"
	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/plan"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// engine is a graph of trees that the host scores itself.
type engine struct {
	name, file, output string
	one, many          float64 // targets of ONNX Runtime's time / ours, for a call of 1 row and of 1,000; 0: none
}

func engines(o options) []engine {
	of := func(name string) string { return filepath.Join(o.testdata, "bench", "engines", name+".onnx") }
	return []engine{
		{"isolation forest, fused", filepath.Join(modelDir(o), "model.onnx"), "scores", 4, 3.5},
		{"isolation forest, skl2onnx", of("skl2onnx"), "scores", 4, 3.5},
		{"LightGBM, 100 x 31 leaves", of("lightgbm"), "variable", 0, 2},
		{"XGBoost, 100 of depth 6", of("xgboost"), "variable", 0, 2},
	}
}

// forests compares the host's forests with ONNX Runtime: the kernels alone, the graph that
// skl2onnx writes with the fused one through REST, and what loading costs.
func forests(ctx context.Context, o options, w io.Writer) error {
	data, err := readDataset(o)
	if err != nil {
		return err
	}
	if err := beside(ctx, o, data, w); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-*")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	skl := filepath.Join(dir, "skl2onnx")
	if err := exported(o, skl); err != nil {
		return err
	}
	if err := unchanged(ctx, o, data, dir, w); err != nil {
		return err
	}
	return loadings(ctx, o, dir, filepath.Join(skl, "forest", "1.0.0"), w)
}

// exported copies the benchmark's model to a models directory, with the graph of skl2onnx in
// place of the fused one. That graph rounds otherwise, by up to 1e-7.
func exported(o options, models string) error {
	if err := copyModel(modelDir(o), models, "forest"); err != nil {
		return err
	}
	to := filepath.Join(models, "forest", "1.0.0")
	graph, err := os.ReadFile(filepath.Join(o.testdata, "bench", "engines", "skl2onnx.onnx"))
	if err != nil {
		return fmt.Errorf("reading a graph: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(to, "model.yaml"))
	if err != nil {
		return fmt.Errorf("reading a manifest: %w", err)
	}
	var kept []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "digest: ") {
			kept = append(kept, strings.Replace(line, "tolerance: 1.0e-6", "tolerance: 1.0e-5", 1))
		}
	}
	return errors.Join(os.WriteFile(filepath.Join(to, "model.onnx"), graph, 0o600), os.WriteFile(filepath.Join(to, "model.yaml"), []byte(strings.Join(kept, "")), 0o600))
}

// beside times calls in one thread by its processor time, plan and ONNX Runtime in turns.
func beside(ctx context.Context, o options, data *dataset, w io.Writer) error {
	ort.SetSharedLibraryPath(o.library)
	if err := ort.InitializeEnvironment(); err != nil {
		return fmt.Errorf("loading ONNX Runtime: %w", err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "Forests beside ONNX Runtime, one thread each, processor time: medians of %d runs in turns; ratio: median (quartiles)\n\n", o.runs)
	fmt.Fprintln(t, "graph\trows a call\tµs a row\tONNX Runtime, µs a row\tratio")
	for _, e := range engines(o) {
		pair, err := newPair(e, data)
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		for _, rows := range []int{1, 1000} {
			ours, theirs, err := pair.times(ctx, o.runs, rows)
			if err != nil {
				return fmt.Errorf("%s: %w", e.name, err)
			}
			r, note := spreadOf(ratios(theirs, ours)), ""
			if aim := map[int]float64{1: e.one, 1000: e.many}[rows]; aim > 0 {
				note = verdict(fmt.Sprintf("at least %g", aim), r.median >= aim)
			}
			fmt.Fprintf(t, "%s\t%d\t%.3g\t%.3g\t%v\t%s\n", e.name, rows, median(ours), median(theirs), r, note)
		}
		if err := pair.session.Destroy(); err != nil {
			return fmt.Errorf("closing a session: %w", err)
		}
	}
	return t.Flush()
}

// pair is one graph in both engines, with rows for it.
type pair struct {
	plan    *plan.Plan
	session *ort.DynamicAdvancedSession
	rows    *sdk.Batch
}

func newPair(e engine, data *dataset) (*pair, error) {
	file, err := os.ReadFile(e.file)
	if err != nil {
		return nil, fmt.Errorf("reading a graph: %w", err)
	}
	g, err := graph.Check(file, graph.Limits{})
	if err != nil {
		return nil, fmt.Errorf("checking a graph: %w", err)
	}
	features := make([]sdk.Feature, len(data.names))
	for j, name := range data.names {
		features[j] = sdk.Feature{Name: name, DType: sdk.Float32}
	}
	p := &pair{rows: sdk.NewBatch(features)}
	if p.plan, _, err = plan.Recognise(g, plan.Inputs{Features: features, Names: []string{g.Inputs[0].Name}, Rank: 2}, plan.Output{Name: e.output, Column: -1}); err != nil {
		return nil, fmt.Errorf("recognising a graph: %w", err)
	}
	options, err := ort.NewSessionOptions()
	if err == nil {
		err = options.SetIntraOpNumThreads(1)
	}
	if err != nil {
		return nil, fmt.Errorf("setting threads: %w", err)
	}
	defer options.Destroy()
	if p.session, err = ort.NewDynamicAdvancedSessionWithONNXData(file, []string{g.Inputs[0].Name}, []string{e.output}, options); err != nil {
		return nil, fmt.Errorf("loading a graph: %w", err)
	}
	p.rows.Resize(1000)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range p.rows.Rows() {
		for j, v := range data.values[i%len(data.values)] {
			p.rows.Float32s()[i*len(features)+j] = v * float32(math.Exp(random.NormFloat64()/10))
		}
	}
	return p, nil
}

// times returns the processor time of a row in each run, in µs. Every call has other rows.
func (p *pair) times(ctx context.Context, runs, rows int) (ours, theirs []float64, err error) {
	d := len(p.rows.Features())
	scores, out := make([]float64, rows), make([]float32, rows)
	mine := func(at int) error { return p.plan.Score(ctx, p.rows.Slice(at, at+rows), scores) }
	its := func(at int) error {
		in, err := ort.NewTensor(ort.NewShape(int64(rows), int64(d)), p.rows.Float32s()[at*d:(at+rows)*d])
		if err != nil {
			return err //nolint:wrapcheck // the caller says what was done
		}
		to, err := ort.NewTensor(ort.NewShape(int64(rows), 1), out)
		if err != nil {
			return err //nolint:wrapcheck // as above
		}
		return errors.Join(p.session.Run([]ort.Value{in}, []ort.Value{to}), in.Destroy(), to.Destroy())
	}
	for range runs {
		for call, to := range map[*func(at int) error]*[]float64{&mine: &ours, &its: &theirs} {
			row, err := cpuPerRow(*call, rows)
			if err != nil {
				return nil, nil, err
			}
			*to = append(*to, row)
		}
	}
	return ours, theirs, nil
}

// cpuPerRow returns the processor time of a row, in µs, over many calls.
func cpuPerRow(call func(at int) error, rows int) (float64, error) {
	const most, long = 40_000, time.Second / 2 // rows, and time
	before, err := threadTime()
	if err != nil {
		return 0, err
	}
	n := 0
	for begin := time.Now(); n < most && time.Since(begin) < long; n += rows {
		if err := call(n % 1000); err != nil {
			return 0, fmt.Errorf("scoring: %w", err)
		}
	}
	after, err := threadTime()
	return micros(after-before) / float64(n), err
}

// threadTime returns the processor time of this thread.
func threadTime() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0, fmt.Errorf("reading the processor time: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// unchanged compares hosts with the graph of skl2onnx and with the fused one.
func unchanged(ctx context.Context, o options, data *dataset, dir string, w io.Writer) error {
	body := data.body(1, true)
	var hosts []*process
	for i, models := range []string{filepath.Join(dir, "skl2onnx"), filepath.Join(o.testdata, "bench", "models")} {
		h, err := startHost(ctx, o, models, filepath.Join(dir, fmt.Sprint("state", i)))
		if err != nil {
			return err
		}
		defer func() { _ = h.stop() }()
		hosts = append(hosts, h)
	}
	const conns = 32
	var got [2][]sample
	for turn := range o.runs {
		for i := range hosts {
			at := (i + turn) % 2
			s, err := measure(ctx, hosts[at], "/api/v1/predict", body, conns, o.warm, o.duration)
			if err != nil {
				return err
			}
			got[at] = append(got[at], s)
		}
	}
	rates, cpu := spreadOf(ratios(each(got[0], sample.rate), each(got[1], sample.rate))), spreadOf(ratios(each(got[0], sample.cpuMicros), each(got[1], sample.cpuMicros)))
	fmt.Fprintf(w, "\nThe graph of skl2onnx, unchanged, beside the fused one: 1 named row, %d connections, median (quartiles) of %d\n", conns, o.runs)
	fmt.Fprintf(w, "requests/s %.0f and %.0f, ratio %v; %s\n", median(each(got[0], sample.rate)), median(each(got[1], sample.rate)), rates, verdict("at least 0.95", rates.median >= 0.95))
	fmt.Fprintf(w, "CPU µs a request %.1f and %.1f, ratio %v\n", median(each(got[0], sample.cpuMicros)), median(each(got[1], sample.cpuMicros)), cpu)
	return nil
}

// loadings measures what the graph of skl2onnx costs when it is loaded for the first time,
// which proves it, and at later starts.
func loadings(ctx context.Context, o options, dir, model string, w io.Writer) error {
	var first, next, load, used []float64
	state := ""
	for i := range o.runs {
		state = filepath.Join(dir, fmt.Sprint("inspect", i))
		for _, to := range []*[]float64{&first, &next} {
			cmd := exec.CommandContext(ctx, o.binary, "model", "inspect", model, "--state-dir", state)
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("inspecting a model: %w: %.300s", err, out)
			}
			*to = append(*to, millis(cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()))
		}
	}
	h, err := startHost(ctx, o, filepath.Dir(filepath.Dir(model)), state)
	if err != nil {
		return err
	}
	defer func() { _ = h.stop() }()
	b := &build{process: h}
	for range o.runs {
		if err := manage(ctx, h.addr, http.MethodDelete, "forest", "unload"); err != nil {
			return err
		}
		before, err := b.cpu()
		if err != nil {
			return err
		}
		begin := time.Now()
		if err := manage(ctx, h.addr, http.MethodPost, "forest", "load"); err != nil {
			return err
		}
		took := time.Since(begin)
		after, err := b.cpu()
		if err != nil {
			return err
		}
		load, used = append(load, millis(took)), append(used, millis(after-before))
	}
	l := spreadOf(load)
	fmt.Fprintf(w, "\nLoading the graph of skl2onnx, median (quartiles) of %d, ms\n", o.runs)
	fmt.Fprintf(w, "model inspect, never proved before, processor time %v\nmodel inspect, proved before, processor time %v\n", spreadOf(first), spreadOf(next))
	fmt.Fprintf(w, "load by a host, proved before %v, processor time %v; %s\n", l, spreadOf(used), verdict("under 50", l.median < 50))
	return nil
}
