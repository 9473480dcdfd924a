package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"text/tabwriter"
	"time"
)

// metering measures the cost and the benefit of metering WASM models.
func metering(ctx context.Context, o options, w io.Writer) error {
	for i, part := range []func(context.Context, options, io.Writer) error{kernels, overruns, collections} {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := part(ctx, o, w); err != nil {
			return err
		}
	}
	return nil
}

// The ways of running a kernel. The others are compared with the first.
const (
	variantPlain = iota
	variantMetered
	variantClosing
	variantNative
	variants
)

// kernel is a row of the table.
type kernel struct{ name, module, export string }

const kernelForest = "isolation forest, 100 trees, 1,000 x 10"

func allKernels() []kernel {
	const scalar, vectors = "kernels.wasm", "kernels-simd.wasm"
	return []kernel{
		{kernelForest, scalar, "forest"},
		{"matrices of 128 x 128, scalar", scalar, "matmul"},
		{"matrices of 128 x 128, SIMD", vectors, "matmul"},
		{"tight loop", scalar, "tight"},
		{"hash of 1 MiB", scalar, "hash"},
		{"fib(30)", scalar, "fib"},
	}
}

// kernels compares wazero without a meter, with it, with wazero's own way of ending
// calls, and native code.
func kernels(ctx context.Context, o options, w io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "bench-*")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	modules := map[string][variants]variant{}
	var native variant
	n, err := newNative(ctx, dir)
	switch {
	case err == nil:
		native = n
		defer func() { err = errors.Join(err, n.close()) }()
	case !errors.Is(err, errNoCompiler):
		return err
	}
	for _, k := range allKernels() {
		if _, done := modules[k.module]; done {
			continue
		}
		module, err := kernelFile(k.module)
		if err != nil {
			return err
		}
		v := [variants]variant{variantNative: native}
		for i := range variantNative {
			g, err := newGuest(ctx, module, i == variantMetered, i == variantClosing)
			if err != nil {
				return err
			}
			defer func() { _ = g.close() }()
			v[i] = g
		}
		if err := agree(v, "setup"); err != nil {
			return err
		}
		modules[k.module] = v
	}
	took, err := timeKernels(o, modules)
	if err != nil {
		return err
	}
	return reportKernels(w, o, took)
}

// timeKernels measures every variant of every kernel, run after run, in
// milliseconds.
func timeKernels(o options, modules map[string][variants]variant) (map[kernel]*[variants][]float64, error) {
	took := map[kernel]*[variants][]float64{}
	for turn := range o.runs {
		for _, k := range allKernels() {
			if turn == 0 {
				took[k] = new([variants][]float64)
				if err := agree(modules[k.module], k.export); err != nil {
					return nil, err
				}
			}
			for i := range variants {
				i = (i + turn) % variants // the order changes from turn to turn
				v := modules[k.module][i]
				if v == nil {
					continue
				}
				ms, err := timeOf(v, k.export)
				if err != nil {
					return nil, err
				}
				took[k][i] = append(took[k][i], ms)
			}
		}
	}
	return took, nil
}

// agree calls a kernel of every variant once. All results must be equal.
func agree(all [variants]variant, export string) error {
	_, want, err := all[variantPlain].run(export)
	if err != nil {
		return err
	}
	for i, v := range all {
		if v == nil || i == variantPlain {
			continue
		}
		if _, got, err := v.run(export); err != nil {
			return err
		} else if got != want {
			return fmt.Errorf("%s: variant %d answers %#x, not %#x", export, i, got, want)
		}
	}
	return nil
}

// timeOf returns the median of some calls, in ms.
func timeOf(v variant, export string) (float64, error) {
	const least, long = 3, 40 * time.Millisecond
	var calls []float64
	for begin := time.Now(); len(calls) < least || time.Since(begin) < long; {
		took, _, err := v.run(export)
		if err != nil {
			return 0, err
		}
		calls = append(calls, millis(took))
	}
	return median(calls), nil
}

func reportKernels(w io.Writer, o options, took map[kernel]*[variants][]float64) error {
	fmt.Fprintf(w, "Metering: ms a call, and the ratio to wazero without a meter; medians (quartiles) of %d runs in turns\n\n", o.runs)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "kernel\tunmetered\tmetered\tWithCloseOnContextDone\tnative\tmetered, ratio\tWithCloseOnContextDone, ratio\tnative, ratio")
	middle := 0.0 // sum of logarithms
	all := allKernels()
	for _, k := range all {
		fmt.Fprint(t, k.name)
		for _, ms := range took[k] {
			fmt.Fprint(t, "\t", unlessEmpty(ms, func() any { return fmt.Sprintf("%.3g", median(ms)) }))
		}
		for _, ms := range took[k][variantMetered:] {
			fmt.Fprint(t, "\t", unlessEmpty(ms, func() any { return spreadOf(ratios(ms, took[k][variantPlain])) }))
		}
		fmt.Fprintln(t)
		r := spreadOf(ratios(took[k][variantMetered], took[k][variantPlain]))
		middle += math.Log(r.median)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	n := float64(len(all))
	forest := spreadOf(ratios(took[all[0]][variantMetered], took[all[0]][variantPlain]))
	fmt.Fprintf(w, "\nmetered, isolation forest: %v; %s\n", forest, verdict("at most 1.15", forest.median <= 1.15))
	fmt.Fprintf(w, "metered, geometric mean: %.3f; %s\n", math.Exp(middle/n), verdict("at most 1.25", math.Exp(middle/n) <= 1.25))
	return nil
}

// unlessEmpty returns a dash if there are no measurements.
func unlessEmpty(ms []float64, text func() any) any {
	if len(ms) == 0 {
		return "–"
	}
	return text()
}
