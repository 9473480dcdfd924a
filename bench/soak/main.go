// Command soak sends mixed traffic to a host, replaces its models and cuts
// connections meanwhile, and checks every response. Then it checks for leaks:
// goroutines, leases, files, memory. Run it with `make soak`.
//
// All traffic stays on this machine's loopback interface.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

type options struct {
	binary, testdata string
	duration         time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "bin/pynomaly-runtime", "the host")
	flag.StringVar(&o.testdata, "testdata", "testdata", "directory with models and expected answers")
	flag.DurationVar(&o.duration, "duration", 2*time.Minute, "how long to send traffic")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := soak(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// tally counts the traffic and keeps the first failures.
type tally struct {
	single, batches, explained, streamed, refused, cut, replaced atomic.Int64
	mu                                                           sync.Mutex
	failures                                                     []error
	failed                                                       int
}

func (t *tally) fail(err error) {
	const keep = 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed++
	if len(t.failures) < keep {
		t.failures = append(t.failures, err)
	}
}

func soak(ctx context.Context, o options, w io.Writer) error {
	dir, err := os.MkdirTemp("", "soak-*")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	cases, err := readCases(o.testdata)
	if err != nil {
		return err
	}
	models := filepath.Join(dir, "models")
	for _, c := range cases {
		if err := place(o.testdata, models, c.name, calibrations[0]); err != nil {
			return err
		}
	}
	h, err := startHost(ctx, o, models, filepath.Join(dir, "state"))
	if err != nil {
		return err
	}
	defer h.kill()
	warm := &tally{}
	traffic(ctx, h, cases, warm, 3*time.Second, nil) // the host makes its one-time allocations now
	before, err := h.settled(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "before: %v\n", before)

	t := &tally{}
	var samples []float64
	sampling, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { samples = residentBytes(sampling, h, t) })
	traffic(ctx, h, cases, t, o.duration, func(i int) error {
		return place(o.testdata, models, cases[i%len(cases)].name, calibrations[i/len(cases)%len(calibrations)])
	})
	stop()
	wg.Wait()
	after, err := h.settled(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "after:  %v\n", after)
	fmt.Fprintf(w, "%d single rows, %d batches, %d explanations, %d messages, %d bad requests refused, %d connections cut, %d models replaced; %d failures\n",
		t.single.Load(), t.batches.Load(), t.explained.Load(), t.streamed.Load(), t.refused.Load(), t.cut.Load(), t.replaced.Load(), t.failed)
	errs := slices.Concat(t.failures, leaks(w, before, after, samples))
	errs = append(errs, h.stop())
	return errors.Join(errs...)
}

// residentBytes samples the resident memory of a host every second until ctx ends.
func residentBytes(ctx context.Context, h *host, t *tally) (samples []float64) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return samples
		case <-tick.C:
			if s, err := h.state(ctx); err == nil {
				samples = append(samples, s.resident)
			} else if ctx.Err() == nil {
				t.fail(fmt.Errorf("reading metrics: %w", err))
			}
		}
	}
}

// leaks compares what a host held before and after the traffic, and its memory early
// and late.
func leaks(w io.Writer, before, after state, samples []float64) (errs []error) {
	quarter := len(samples) / 4
	early, late := mean(samples[quarter:2*quarter]), mean(samples[len(samples)-quarter:])
	fmt.Fprintf(w, "resident memory under load: %.1f MiB in the second quarter, %.1f MiB in the last: %+.1f%%\n", early/mib, late/mib, 100*(late/early-1))
	leak := func(what string, from, to, allowed float64) {
		if to > from+allowed {
			errs = append(errs, fmt.Errorf("%s: %.0f before, %.0f after", what, from, to))
		}
	}
	leak("goroutines", before.goroutines, after.goroutines, 4)
	leak("open files", before.files, after.files, 4)
	leak("leases", 0, after.leases, 0)
	leak("WebSockets", 0, after.sockets, 0)
	leak("bytes of resident memory under load", early, late, 0.1*early)
	leak("bytes of heap", before.heap, after.heap, 4*mib)
	return errs
}

const mib = 1 << 20

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / max(1, float64(len(v)))
}
