package faults

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func signalScenarios() []scenario {
	return []scenario{
		{
			id: "hangup", does: "SIGHUP and SIGPIPE to a host that serves",
			must: "it goes on, all are answered", run: hangup,
		},
		{
			id: "signals", does: "signals at random moments of start, load, work and drain",
			must: "HUP and PIPE never end it, TERM, INT and QUIT always do; the next host at the place serves", run: signals,
		},
		{
			id: "second-signal", does: "a second SIGTERM while a long drain goes on",
			must: "it ends at once", run: secondSignal,
		},
	}
}

func hangup(t *testing.T, r *row) {
	p := newPlace(t)
	goodModels(t, p)
	h := start(t, p, options{}).ready()
	tr := h.traffic()
	for range 10 {
		tr.more(h, 20)
		h.signal(syscall.SIGHUP)
		h.signal(syscall.SIGPIPE)
	}
	tr.more(h, 50)
	h.mustLive()
	tr.end()
	tr.none(t)
	r.note("10 of each: %v", &tr.tally)
	h.stop(hangs)
}

// signals starts one host after the other at the same place.
func signals(t *testing.T, r *row) {
	p := newPlace(t)
	goodModels(t, p)
	random := rand.New(rand.NewPCG(seed(), 5))
	harmless := []syscall.Signal{syscall.SIGHUP, syscall.SIGPIPE}
	ending := []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL}
	rounds, slowest := pick(8, 60), time.Duration(0)
	var ended []string
	for round := range rounds {
		h := start(t, p, options{cold: true, args: []string{"--shutdown-timeout", "5s"}})
		// A process can be signalled before it has set anything up; what it then does with
		// a hang-up is not its own.
		moment := round % 4
		if moment > 0 {
			h.eventually("it has begun", func() bool { return h.logged(`"serving"`) })
		}
		if moment > 1 {
			h.ready()
		}
		time.Sleep(time.Duration(random.Int64N(int64(300 * time.Millisecond)))) // the moment is random, nothing is waited for
		if moment == 3 {
			h.signal(syscall.SIGTERM)
			time.Sleep(time.Duration(random.Int64N(int64(time.Second))))
		}
		if moment > 0 {
			h.signal(harmless[random.IntN(len(harmless))])
		}
		if moment > 0 && moment < 3 {
			h.ready()
		}
		last := ending[(round+random.IntN(2))%len(ending)]
		h.signal(last)
		slowest = max(slowest, h.wait(hangs))
		if status, ok := h.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() && slices.Contains(harmless, status.Signal()) {
			t.Errorf("%v ended it at moment %d", status.Signal(), moment)
		}
		ended = append(ended, fmt.Sprintf("%d %v", moment, last))
	}
	t.Log(strings.Join(ended, ", "))
	h := start(t, p, options{cold: true}).ready()
	h.serving(20)
	h.stop(hangs)
	r.note("seed %d, %d hosts, the slowest end took %s", seed(), rounds, ms(slowest))
	left, _ := filepath.Glob(filepath.Join(p.tmp, "pynomaly-*"))
	r.note("%d left over in TMPDIR", len(left))
	if len(left) > 0 {
		t.Errorf("left over in TMPDIR: %v", left)
	}
}

func secondSignal(t *testing.T, r *row) {
	p := newPlace(t)
	goodModels(t, p)
	h := start(t, p, options{drain: "10m", args: []string{"--env", "production"}}).ready()
	dial(t, h.address, 1) // somebody is there
	h.signal(syscall.SIGTERM)
	h.eventually("it drains", func() bool { return h.status("/ready") == 503 })
	h.signal(syscall.SIGTERM)
	r.note("ended %s after the second", ms(h.wait(hangs)))
}
