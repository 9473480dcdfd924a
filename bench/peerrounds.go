package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pynomaly/pynomaly-runtime/bench/peers"
)

// comparison measures servers round by round.
type comparison struct {
	o              peerOptions
	reference      []float64
	all            []*measured
	rounds         int
	others, stolen float64 // the most processors that others used, and that the hypervisor withheld
}

// measured is a server with what was measured of it.
type measured struct {
	*peer
	got    []figures // of each kind of request
	start  []float64 // seconds
	mib    []float64
	failed error // why there are no figures
}

// figures are the samples of one kind of request, one of each round.
type figures struct{ many, alone, batch []sample }

// run measures all servers in rounds, one after another.
func (c *comparison) run(ctx context.Context) error {
	begin := time.Now()
	bounded, cancel := context.WithTimeout(ctx, c.o.limit)
	defer cancel()
	var longest time.Duration
	for ; c.rounds < c.o.runs && time.Since(begin)+longest < c.o.limit; c.rounds++ {
		from := time.Now()
		for i := range c.all {
			m := c.all[(i+c.rounds)%len(c.all)] // the order changes from round to round
			if m.failed != nil {
				continue
			}
			fmt.Fprintf(os.Stderr, "round %d of %d, after %v: %s\n", c.rounds+1, c.o.runs, time.Since(begin).Round(time.Second), m.name)
			err := c.measure(bounded, m)
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case bounded.Err() != nil:
				return nil // figures are those of the rounds before
			case err != nil:
				m.failed = err
				fmt.Fprintf(os.Stderr, "%s: %v\n", m.name, err)
			}
		}
		longest = max(longest, time.Since(from))
	}
	return nil
}

// measure starts a server, checks its first answers, and measures it.
func (c *comparison) measure(ctx context.Context, m *measured) (err error) {
	if m.venv != "" {
		if _, err := os.Stat(filepath.Join(c.o.venvs, m.venv, ".complete")); err != nil {
			return fmt.Errorf("it could not be installed: %s", lastLine(filepath.Join(c.o.venvs, m.venv+".log")))
		}
	}
	begin := time.Now()
	s, err := startPeer(ctx, c.o, m.peer)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.first(ctx, m.kinds[0], c.reference); err != nil {
		return err
	}
	started := time.Since(begin)
	got := make([]figures, len(m.kinds))
	for i, k := range m.kinds {
		if got[i], err = c.traffic(ctx, s, k); err != nil {
			return err
		}
	}
	bytes, err := treeMemory()
	if err != nil {
		return err
	}
	for i, f := range got {
		g := &m.got[i]
		g.many, g.alone, g.batch = append(g.many, f.many...), append(g.alone, f.alone...), append(g.batch, f.batch...)
	}
	m.start, m.mib = append(m.start, started.Seconds()), append(m.mib, float64(bytes)/(1<<20))
	return nil
}

// traffic measures a server with one kind of request, and checks its answers first.
func (c *comparison) traffic(ctx context.Context, s *peerServer, k kind) (f figures, err error) {
	for _, t := range []struct {
		path        string
		rows, conns int
		to          *[]sample
	}{
		{k.one, 1, 32, &f.many},
		{k.one, 1, 1, &f.alone},
		{k.many, peers.BatchRows, 4, &f.batch},
	} {
		body := k.body(t.rows)
		answer, err := s.ask(ctx, t.path, body)
		if err != nil {
			return f, fmt.Errorf("%d rows, %s: %w", t.rows, k.rows, err)
		}
		if err := k.check(answer, c.reference, t.rows); err != nil {
			return f, fmt.Errorf("%d rows, %s: %w", t.rows, k.rows, err)
		}
		before, err := readClock()
		if err != nil {
			return f, err
		}
		m, err := measure(ctx, s.process, t.path, body, t.conns, c.o.warm, c.o.duration)
		if err != nil {
			return f, fmt.Errorf("%d rows, %s, %d connections: %w", t.rows, k.rows, t.conns, err)
		}
		after, err := readClock()
		if err != nil {
			return f, err
		}
		others, stolen := after.since(before)
		c.others, c.stolen = max(c.others, others), max(c.stolen, stolen)
		*t.to = append(*t.to, m)
	}
	return f, nil
}

// results returns the medians.
func (c *comparison) results() *peers.Results {
	r := &peers.Results{
		Machine: machine(), Rounds: max(c.rounds, 1), Seconds: c.o.duration.Seconds(),
		Others: c.others, Stolen: c.stolen,
	}
	for _, m := range c.all {
		for i, k := range m.kinds {
			row := peers.Server{Name: m.name, Rows: k.rows, Host: m.host, Floor: k.decode == nil}
			switch {
			case m.failed != nil:
				row.Reason = m.failed.Error()
			case len(m.start) == 0:
				row.Reason = "the time for all servers was over"
			default:
				row.Many, row.Alone, row.Batch = medians(m.got[i].many), medians(m.got[i].alone), medians(m.got[i].batch)
				row.MiB, row.Start = median(m.mib), median(m.start)
			}
			r.Servers = append(r.Servers, row)
		}
	}
	return r
}

func medians(all []sample) peers.Figures {
	return peers.Figures{
		Rate: median(each(all, sample.rate)),
		CPU:  median(each(all, sample.cpuMicros)),
		P50:  median(each(all, func(s sample) float64 { return micros(s.p50) })),
		P99:  median(each(all, func(s sample) float64 { return micros(s.p99) })),
	}
}
