package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// guestPages is the memory limit of a guest: 256 MiB, the default of manifests.
const guestPages = 4096

const (
	guestDeadline = 50 * time.Millisecond
	stackDeadline = 10 * time.Second // for guests whose stack ends first
)

// hostile is a guest that does not return by itself.
type hostile struct {
	name, module, export string
	stack                bool // its stack ends first
}

func allHostile() []hostile {
	const text, table = "hostile.wasm", "table.wasm"
	return []hostile{
		{"endless loop", text, "loop", false},
		{"exponential recursion", text, "exponential", false},
		{"fib(90)", text, "fib90", false},
		{"memory.grow storm", text, "memory_grow", false},
		{"table.grow storm", table, "table_grow", false},
		{"fill storm", text, "fill", false},
		{"unbounded recursion", text, "recursion", true},
	}
}

// overruns measures how long hostile guests run after their deadline.
func overruns(ctx context.Context, _ options, w io.Writer) error {
	const each = 20
	fmt.Fprintf(w, "Hostile guests, metered, a deadline of %v, %d calls each: ms over the deadline\n\n", guestDeadline, each)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "guest\tp50\tworst")
	var all, stack []float64
	for _, h := range allHostile() {
		took := make([]float64, each)
		for i := range took {
			call, err := overrun(ctx, h)
			if err != nil {
				return fmt.Errorf("%s: %w", h.name, err)
			}
			took[i] = millis(call)
		}
		if h.stack {
			stack = append(stack, took...)
			continue
		}
		for i := range took {
			took[i] -= millis(guestDeadline)
		}
		all = append(all, took...)
		fmt.Fprintf(t, "%s\t%.2f\t%.2f\n", h.name, median(took), slices.Max(took))
	}
	p50, worst := median(all), slices.Max(all)
	fmt.Fprintf(t, "all of them\t%.2f\t%.2f\n", p50, worst)
	if err := t.Flush(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	fmt.Fprintf(w, "\nover the deadline, p50: %s; worst: %s\n", verdict("at most 10 ms", p50 <= 10), verdict("at most 150 ms", worst <= 150))
	fmt.Fprintf(w, "unbounded recursion, no deadline: the stack ends after p50 %.1f ms, worst %.1f ms; %s\n",
		median(stack), slices.Max(stack), verdict("worst at most 500 ms", slices.Max(stack) <= 500))
	return nil
}

// overrun calls a hostile guest and returns how long the call took.
func overrun(ctx context.Context, h hostile) (time.Duration, error) {
	module, err := kernelFile(h.module)
	if err != nil {
		return 0, err
	}
	g, err := newGuest(ctx, module, true, false)
	if err != nil {
		return 0, err
	}
	defer func() { _ = g.close() }()
	f := g.module.ExportedFunction(h.export)
	if f == nil {
		return 0, fmt.Errorf("no export %s", h.export)
	}
	deadline := guestDeadline
	if h.stack {
		deadline = stackDeadline
	}
	call, cancel := context.WithTimeout(g.ctx, deadline)
	defer cancel()
	begin := time.Now()
	_, err = f.Call(call)
	took := time.Since(begin)
	ended := errors.Is(err, context.DeadlineExceeded)
	if h.stack {
		ended = err != nil && strings.Contains(err.Error(), "stack overflow")
	}
	if !ended {
		return 0, fmt.Errorf("it ended with: %w", err)
	}
	return took, nil
}

// collections measures garbage collections during a call of a guest that never
// returns. The collector has to stop the guest, which only the meter makes possible.
func collections(ctx context.Context, _ options, w io.Writer) error {
	const n = 200
	module, err := kernelFile("hostile.wasm")
	if err != nil {
		return err
	}
	g, err := newGuest(ctx, module, true, false)
	if err != nil {
		return err
	}
	defer func() { _ = g.close() }()
	call, cancel := context.WithCancel(g.ctx)
	ended := make(chan error, 1)
	go func() {
		_, err := g.module.ExportedFunction("loop").Call(call)
		ended <- err
	}()
	took := make([]float64, n)
	for i := range took {
		begin := time.Now()
		runtime.GC()
		took[i] = millis(time.Since(begin))
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		return fmt.Errorf("the guest beside the collector ended with: %w", err)
	}
	slices.Sort(took)
	p99 := took[n*99/100-1]
	fmt.Fprintf(w, "runtime.GC() beside an endless metered guest, %d calls: p50 %.2f ms, p99 %.2f ms, worst %.2f ms; %s\n",
		n, median(took), p99, took[n-1], verdict("p99 at most 25 ms", p99 <= 25))
	return nil
}
