package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// spread is a median with its quartiles.
type spread struct{ low, median, high float64 }

func spreadOf(v []float64) spread {
	s := slices.Clone(v)
	slices.Sort(s)
	at := func(q float64) float64 {
		x := q * float64(len(s)-1)
		i := int(x)
		if i+1 >= len(s) {
			return s[i]
		}
		return s[i] + (x-float64(i))*(s[i+1]-s[i])
	}
	return spread{at(0.25), at(0.5), at(0.75)}
}

func (s spread) String() string { return fmt.Sprintf("%.3g (%.3g to %.3g)", s.median, s.low, s.high) }

// each returns one figure of every sample.
func each(samples []sample, f func(sample) float64) []float64 {
	out := make([]float64, len(samples))
	for i, s := range samples {
		out[i] = f(s)
	}
	return out
}

// ratios divides run by run, so that drifts of the machine cancel out.
func ratios(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] / b[i]
	}
	return out
}

func median(v []float64) float64 { return spreadOf(v).median }

func report(w io.Writer, o options, all []scenario, contenders []contender, got map[string][]sample, limits map[int][]float64) {
	fmt.Fprintf(w, "Requests: one fused isolation forest, 100 trees, 30 features; medians of %d runs of %v in turns\n\n", o.runs, o.duration)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "traffic\tserver\tCPU µs a request\tCPU µs a row\trequests/s\trows/s\tp50 ms\tp99 ms")
	micros := sample.cpuMicros
	for _, s := range all {
		for _, c := range contenders {
			m := got[s.name+c.name]
			cpu, rate := median(each(m, micros)), median(each(m, sample.rate))
			fmt.Fprintf(t, "%s\t%s\t%.1f\t%.2f\t%.0f\t%.0f\t%.3f\t%.3f\n", s.name, c.name, cpu, cpu/float64(s.rows), rate, rate*float64(s.rows),
				median(each(m, func(x sample) float64 { return millis(x.p50) })), median(each(m, func(x sample) float64 { return millis(x.p99) })))
		}
	}
	for _, n := range []int{1, 1000} {
		fmt.Fprintf(t, "%d rows a call\tONNX Runtime alone, 1 thread\t\t%.2f\t\t%.0f\t\t\n", n, 1e6/median(limits[n]), median(limits[n]))
	}
	_ = t.Flush()

	fmt.Fprintln(w, "\nRatios: median (quartiles)")
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range all {
		for _, floor := range []string{roleFloorSonic, roleFloorOwn} {
			r := spreadOf(ratios(each(got[s.name+"host"], micros), each(got[s.name+floor], micros)))
			fmt.Fprintf(t, "%s\tCPU, host / %s\t%v\t%s\n", s.name, floor, r, target(s, floor, r))
		}
		for _, c := range contenders {
			if c.name != hostKey && c.name != hostTraces {
				continue
			}
			r := spreadOf(ratios(each(got[s.name+c.name], micros), each(got[s.name+"host"], micros)))
			fmt.Fprintf(t, "%s\tCPU, %s / host\t%v\t\n", s.name, c.name, r)
			r = spreadOf(ratios(each(got[s.name+c.name], micros), each(got[s.name+roleFloorSonic], micros)))
			fmt.Fprintf(t, "%s\tCPU, %s / %s\t%v\t%s\n", s.name, c.name, roleFloorSonic, r, target(s, roleFloorSonic, r))
		}
		if o.other != "" {
			r := spreadOf(ratios(each(got[s.name+"host"], micros), each(got[s.name+hostOther], micros)))
			fmt.Fprintf(t, "%s\tCPU, host / %s\t%v\t\n", s.name, hostOther, r)
		}
		if s.rows > 1 {
			r := spreadOf(each(got[s.name+"host"], func(x sample) float64 { return x.cpuMicros() / float64(s.rows) }))
			most := map[bool]float64{true: 3.5, false: 2.5}[s.named]
			fmt.Fprintf(t, "%s\tCPU µs a row, host\t%v\t%s\n", s.name, r, verdict(fmt.Sprintf("at most %v", most), r.median <= most))
			rows := each(got[s.name+"host"], func(x sample) float64 { return x.rate() * float64(s.rows) })
			r = spreadOf(ratios(rows, limits[s.rows]))
			note := ""
			if !s.named {
				note = verdict("at least 0.4", r.median >= 0.4)
			}
			fmt.Fprintf(t, "%s\trows/s, host / ONNX Runtime alone\t%v\t%s\n", s.name, r, note)
		}
	}
	_ = t.Flush()
}

func millis(d time.Duration) float64 { return d.Seconds() * 1e3 }

// target says whether the median of a ratio reaches its target, or "".
func target(s scenario, floor string, r spread) string {
	switch {
	case floor != roleFloorSonic || !s.named:
		return ""
	case s.rows == 1 && s.conns == 32:
		return verdict("at most 1", r.median <= 1)
	case s.rows == 1:
		return verdict("at most 1.2", r.median <= 1.2)
	case s.rows == 1000:
		return verdict("at most 1", r.median <= 1)
	}
	return ""
}

func verdict(aim string, reached bool) string {
	if reached {
		return "target " + aim + ": reached"
	}
	return "target " + aim + ": NOT reached"
}
