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

	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
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
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	h := start(t, p, options{}).ready()
	tr := h.Traffic()
	for range 10 {
		tr.More(20)
		h.Signal(syscall.SIGHUP)
		h.Signal(syscall.SIGPIPE)
	}
	tr.More(50)
	h.MustLive()
	tr.End()
	tr.None(t)
	r.note("10 of each: %v", &tr.Tally)
	h.Stop(hangs)
}

// signals starts hosts one after the other at the same place.
func signals(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	random := rand.New(rand.NewPCG(seed(), 5))
	harmless := []syscall.Signal{syscall.SIGHUP, syscall.SIGPIPE}
	ending := []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL}
	rounds, slowest := pick(8, 60), time.Duration(0)
	var ended []string
	for round := range rounds {
		h := start(t, p, options{Cold: true, Args: []string{"--shutdown-timeout", "5s"}})
		// A process can receive a signal before it has set anything up. A hang-up
		// then has its default effect.
		moment := round % 4
		if moment > 0 {
			h.Eventually("the host has started", func() bool { return h.Logged(`"serving"`) })
		}
		if moment > 1 {
			h.ready()
		}
		time.Sleep(time.Duration(random.Int64N(int64(300 * time.Millisecond)))) // the moment is random, nothing is waited for
		if moment == 3 {
			h.Signal(syscall.SIGTERM)
			time.Sleep(time.Duration(random.Int64N(int64(time.Second))))
		}
		if moment > 0 {
			h.Signal(harmless[random.IntN(len(harmless))])
		}
		if moment > 0 && moment < 3 {
			h.ready()
		}
		last := ending[(round+random.IntN(2))%len(ending)]
		h.Signal(last)
		slowest = max(slowest, h.Wait(hangs))
		if status, ok := h.Cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() && slices.Contains(harmless, status.Signal()) {
			t.Errorf("%v ended it at moment %d", status.Signal(), moment)
		}
		ended = append(ended, fmt.Sprintf("%d %v", moment, last))
	}
	t.Log(strings.Join(ended, ", "))
	h := start(t, p, options{Cold: true}).ready()
	h.serving(20)
	h.Stop(hangs)
	r.note("seed %d, %d hosts, the slowest end took %s", seed(), rounds, hosttest.MS(slowest))
	left, _ := filepath.Glob(filepath.Join(p.Tmp, "pynomaly-*"))
	r.note("%d left over in TMPDIR", len(left))
	if len(left) > 0 {
		t.Errorf("left over in TMPDIR: %v", left)
	}
}

func secondSignal(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	h := start(t, p, options{Drain: "10m", Args: []string{"--env", "production"}}).ready()
	dial(t, h.Address, 1) // a client is connected
	h.Signal(syscall.SIGTERM)
	h.Eventually("the host drains", func() bool { return h.Status("/ready") == 503 })
	h.Signal(syscall.SIGTERM)
	r.note("ended %s after the second", hosttest.MS(h.Wait(hangs)))
}
