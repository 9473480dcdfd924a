package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pynomaly/pynomaly-runtime/bench/peers"
)

// peerOptions are the options of the comparison with other servers. The paths are
// absolute.
type peerOptions struct {
	options
	self    string // this program
	venvs   string // directory of virtual environments, see the Makefile
	servers string // directory of the servers in Python
	out     string // directory to write to
	ray     string // directory for Ray Serve, whose sockets need a short name
	limit   time.Duration
}

// quiet is how many processors other programs may use during a measurement.
const quiet = 0.2

// comparePeers measures other servers, the host and the floor one after another, and
// writes the results, the tables and the chart to a directory.
func comparePeers(args []string) error {
	var o peerOptions
	f := flag.NewFlagSet(rolePeers, flag.ContinueOnError)
	f.StringVar(&o.binary, "binary", "bin/pynomaly-runtime", "the host")
	f.StringVar(&o.testdata, "testdata", "testdata", "directory with the benchmark's rows and fused graph")
	f.StringVar(&o.venvs, "venvs", ".peers", "directory of the other servers' virtual environments")
	f.StringVar(&o.servers, "servers", "bench/peers", "directory of the servers in Python")
	f.StringVar(&o.out, "out", "bin/peers", "directory to write to")
	f.StringVar(&o.only, "only", "", "parts of the ids of servers to measure, separated by commas; default all")
	f.IntVar(&o.runs, "rounds", 3, "rounds; in each, all servers are started and measured")
	f.DurationVar(&o.warm, "warm", 700*time.Millisecond, "warm-up before each measurement")
	f.DurationVar(&o.duration, "duration", 3*time.Second, "length of each measurement")
	f.DurationVar(&o.limit, "limit", 15*time.Minute, "length of the whole run; no round is begun that would not end in time")
	if err := f.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	return runPeers(ctx, o)
}

func runPeers(ctx context.Context, o peerOptions) error {
	var err error
	for _, path := range []*string{&o.binary, &o.testdata, &o.venvs, &o.servers, &o.out} {
		if *path, err = filepath.Abs(*path); err != nil {
			return fmt.Errorf("finding %s: %w", *path, err)
		}
	}
	if o.self, err = os.Executable(); err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	if o.ray, err = os.MkdirTemp("/tmp", "ray-"); err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer os.RemoveAll(o.ray)
	data, err := readDataset(o.options)
	if err != nil {
		return err
	}
	reference, err := fitPeers(ctx, o)
	if err != nil {
		return err
	}
	if err := adopt(); err != nil {
		return err
	}
	c := &comparison{o: o, reference: reference}
	for _, p := range allPeers(o, data) {
		if o.only == "" || slices.ContainsFunc(strings.Split(o.only, ","), func(part string) bool { return strings.Contains(p.id, part) }) {
			c.all = append(c.all, &measured{peer: p, got: make([]figures, len(p.kinds))})
		}
	}
	if err := c.run(ctx); err != nil {
		return err
	}
	r := c.results()
	r.Versions = versions(ctx, o)
	if r.Others > quiet {
		fmt.Fprintf(os.Stderr, "The machine was not quiet: other programs used up to %.2f processors. Run the comparison again.\n", r.Others)
	}
	return writePeers(o.out, r)
}

// fitPeers fits the forest, puts its graphs where hosts look for models, and returns
// scikit-learn's scores of the rows.
func fitPeers(ctx context.Context, o peerOptions) ([]float64, error) {
	dir := filepath.Join(o.out, "model")
	python := filepath.Join(o.venvs, "fastapi", "bin", "python")
	cmd := exec.CommandContext(ctx, python, filepath.Join(o.servers, "fit.py"), o.testdata, dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("fitting the forest with scikit-learn, without which there is nothing to compare: %w", err)
	}
	for id, from := range map[string]string{"skl2onnx": filepath.Join(dir, "forest.onnx"), "fused": filepath.Join(modelDir(o.options), "model.onnx")} {
		graph, err := os.ReadFile(from)
		if err != nil {
			return nil, fmt.Errorf("reading a graph: %w", err)
		}
		to := filepath.Join(o.out, "models-"+id)
		if err := errors.Join(os.RemoveAll(to), os.MkdirAll(to, 0o755), os.WriteFile(filepath.Join(to, id+".onnx"), graph, 0o600)); err != nil {
			return nil, fmt.Errorf("writing a model: %w", err)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "reference.json"))
	if err != nil {
		return nil, fmt.Errorf("reading the reference scores: %w", err)
	}
	var reference []float64
	if err := json.Unmarshal(text, &reference); err != nil {
		return nil, fmt.Errorf("reading the reference scores: %w", err)
	}
	return reference, nil
}

// versions returns the versions of what was compared. What is not installed has none.
func versions(ctx context.Context, o peerOptions) []peers.Version {
	var all []peers.Version
	if out, err := exec.CommandContext(ctx, o.binary, "version").Output(); err == nil {
		name, version, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
		all = append(all, peers.Version{Name: name, Version: version})
	}
	for _, p := range [][]string{
		{"fastapi", "Python", "scikit-learn", "skl2onnx", "onnxruntime", "fastapi", "uvicorn"},
		{"bentoml", "bentoml"}, {"litserve", "litserve"}, {"ray", "ray"}, {"mlserver", "mlserver", "uvloop"},
	} {
		const program = `import sys, platform, importlib.metadata as m
for name in sys.argv[1:]: print(platform.python_version() if name == "Python" else m.version(name))`
		out, err := exec.CommandContext(ctx, filepath.Join(o.venvs, p[0], "bin", "python"), append([]string{"-c", program}, p[1:]...)...).Output()
		if err != nil {
			continue
		}
		for i, version := range strings.Fields(string(out)) {
			name := p[1+i]
			if name == "uvloop" {
				name = "uvloop (MLServer)"
			}
			all = append(all, peers.Version{Name: name, Version: version})
		}
	}
	return all
}

func writePeers(dir string, r *peers.Results) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the results: %w", err)
	}
	for file, content := range map[string]string{
		"results.json": string(text) + "\n", "benchmarks.md": peers.Page(r), "readme.md": peers.Summary(r), "benchmarks.svg": peers.Chart(r),
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644); err != nil {
			return fmt.Errorf("writing the results: %w", err)
		}
	}
	return nil
}
