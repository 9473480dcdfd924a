package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// cost is something that a request may pay for.
type cost struct {
	name  string
	host  *process
	model string
	more  string // members of the body
	than  string // the cost that it is compared with
}

// The costs that others are compared with.
const (
	bareCost = "forest: score and threshold"
	fullCost = "forest with all that model init writes"
)

// costs measures what abilities, settings and detectors cost a request of one row.
func costs(ctx context.Context, o options, w io.Writer) error {
	data, err := readDataset(o)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-*")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	models := filepath.Join(dir, "models")
	if err := makeModels(ctx, o, models); err != nil {
		return err
	}
	var hosts []*process
	defer func() {
		for _, p := range hosts {
			_ = p.stop()
		}
	}()
	up := func(more ...string) (p *process, err error) {
		p, err = startHost(ctx, o, models, filepath.Join(dir, fmt.Sprint("state", len(hosts))), more...)
		if err == nil {
			hosts = append(hosts, p)
		}
		return p, err
	}
	host, err := up()
	if err != nil {
		return err
	}
	all := []cost{
		{bareCost, host, "forest", "", bareCost},
		{fullCost, host, "full", "", bareCost},
		{"  with its explanation", host, "full", `,"return_explanation":true`, fullCost},
	}
	for _, name := range fitted() {
		all = append(all, cost{"model fit " + name, host, name, "", fullCost})
	}
	for _, s := range []struct{ name, flags string }{
		{"log.sample: 100", "--log-sample=100"}, {"log.level: warn", "--log-level=warn"}, {"server.samples.size: 1000", "--samples=1000"},
	} {
		p, err := up(s.flags)
		if err != nil {
			return err
		}
		all = append(all, cost{s.name, p, "forest", "", bareCost})
	}
	o.with = "key,traces"
	variants, end, err := startVariants(ctx, o, dir)
	if err != nil {
		return err
	}
	defer end()
	for _, v := range variants {
		all = append(all, cost{v.name, v.process, "forest", "", bareCost})
	}
	return printCosts(ctx, o, w, all, data)
}

// fitted returns the detectors that are measured.
func fitted() []string { return []string{"iforest", "lof", "knn", "ecod", "hbos"} }

// makeModels writes the forest as it is, with all that model init adds, and detectors
// that are fitted to the same rows.
func makeModels(ctx context.Context, o options, models string) error {
	rows := filepath.Join(o.testdata, "bench", "rows.csv")
	if err := os.CopyFS(filepath.Join(models, "forest", "1.0.0"), os.DirFS(modelDir(o))); err != nil {
		return fmt.Errorf("copying the forest: %w", err)
	}
	commands := [][]string{{"init", filepath.Join(modelDir(o), "model.onnx"), "--id", "full", "--version", "1.0.0", "--train", rows, "--orientation", "higher_is_normal"}}
	for _, name := range fitted() {
		commands = append(commands, []string{"fit", name, "--id", name, "--data", rows})
	}
	for _, args := range commands {
		cmd := exec.CommandContext(ctx, o.binary, append([]string{"model"}, append(args, "--models", models)...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("model %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

func printCosts(ctx context.Context, o options, w io.Writer, all []cost, data *dataset) error {
	got := map[string][]float64{}
	for range o.runs {
		for _, c := range all {
			body := bytes.Replace(data.body(1, true), []byte(`"forest"`), fmt.Appendf(nil, "%q%s", c.model, c.more), 1)
			m, err := measure(ctx, c.host, "/api/v1/predict", body, 32, o.warm, o.duration)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			got[c.name] = append(got[c.name], m.cpuMicros())
		}
	}
	fmt.Fprintf(w, "What a request of one named row costs, 30 features, 32 connections: the host's CPU µs; medians (quartiles) of %d runs in turns\n\n", o.runs)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "request\tCPU µs\tmore or less than\tby µs")
	for _, c := range all {
		by := slices.Clone(got[c.name])
		for i, v := range got[c.than] {
			by[i] -= v
		}
		fmt.Fprintf(t, "%s\t%v\t%s\t%v\n", c.name, spreadOf(got[c.name]), c.than, spreadOf(by))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	return nil
}
