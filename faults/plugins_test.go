package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends/process"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

func pluginScenarios() []scenario {
	return []scenario{
		{
			id: "plugin-setsid-stop", does: "a plugin has started 250 processes in sessions of their own; SIGTERM to the host",
			must: "none of them is left", run: func(t *testing.T, r *row) { pluginSetsid(t, r, syscall.SIGTERM) },
		},
		{
			id: "plugin-setsid-kill", does: "the same, kill -9 to the host",
			must: "none of them is left", run: func(t *testing.T, r *row) { pluginSetsid(t, r, syscall.SIGKILL) },
		},
		{
			id: "plugin-forks", does: "a plugin starts 250 processes beside a good one, whose process is killed meanwhile",
			must: "the good one is served and started again; nothing is left after a stop", run: pluginForks,
		},
		{
			id: "detector-panics", does: "16 clients ask two good models while the detectors of two others, a program and a module, panic at every row that 8 more send",
			must: "no good request is lost; each bad one ends with an error that says why; the host and its processes live", run: detectorPanics,
		},
	}
}

// processes returns the host's plugin processes whose command line begins with word.
func (h *host) processes(word string) []int {
	mark := process.HostEnv + "=" + strconv.Itoa(h.Cmd.Process.Pid) + "\x00"
	return processesWith(func(environment, line string) bool {
		return strings.Contains(environment, mark) && strings.HasPrefix(line, word)
	})
}

// orphans returns the processes that the faulty plugin has started. They sleep for a
// number of seconds that no other process uses, and their environment does not name
// the host.
func orphans(mark string) []int {
	return processesWith(func(_, line string) bool { return line == "sleep\x00"+mark+"\x00" })
}

func processesWith(is func(environment, line string) bool) []int {
	all, _ := filepath.Glob("/proc/[0-9]*")
	var out []int
	for _, dir := range all {
		environment, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil {
			continue // it has ended
		}
		line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || !is(string(environment), string(line)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

// orphaning writes a model whose plugin starts 250 processes in their own sessions
// and with another parent. The cleanup kills the remaining ones.
func orphaning(t *testing.T, p place, id string) (mark string) {
	t.Helper()
	mark = fmt.Sprint(1_000_000_000 + time.Now().UnixNano()%1_000_000_000)
	testkit.WriteFaulty(t, p.Models, id, `"fault":"orphans","mark":"`+mark+`"`, "limits: {load_timeout: 5m}\n")
	t.Cleanup(func() {
		for _, pid := range orphans(mark) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return mark
}

func pluginSetsid(t *testing.T, r *row, s syscall.Signal) {
	p := hosttest.NewPlace(t)
	mark := orphaning(t, p, "leaver")
	h := start(t, p, options{Plugins: true}).ready()
	h.Serves("leaver")
	h.Eventually("the plugin has started them", func() bool { return len(orphans(mark)) == 250 })
	h.Signal(s)
	h.Wait(hangs)
	begin := time.Now()
	testkit.Eventually(t, "the processes are gone", func() bool { return len(orphans(mark)) == 0 && len(h.processes("")) == 0 })
	r.note("none was left %s after the host's end", hosttest.MS(time.Since(begin)))
}

func pluginForks(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	testkit.WriteFaulty(t, p.Models, "good", `"concurrency":4`, "processes: 2\n")
	mark := orphaning(t, p, "forks")
	h := start(t, p, options{Plugins: true})
	h.Serves("good")
	tr := h.Traffic(`{"model_id": "good", "data": [1, 2]}`)
	tr.More(50)
	h.Eventually("the plugin has started them", func() bool { return len(orphans(mark)) == 250 })
	for range pick(3, 10) {
		h.Eventually("the good plugin has both processes", func() bool { return len(h.processes("good")) == 2 })
		old := h.processes("good")
		if len(old) != 2 {
			t.Fatalf("the good plugin has %d processes", len(old))
		}
		_ = syscall.Kill(old[0], syscall.SIGKILL)
		h.Eventually("the good plugin's process is started again", func() bool {
			now := h.processes("good")
			return len(now) == 2 && now[0] != old[0] && now[1] != old[0]
		})
		tr.More(100)
	}
	tr.End()
	tr.None(t)
	r.note("%v", &tr.Tally)
	h.Stop(hangs)
	testkit.Eventually(t, "nothing is left", func() bool { return len(orphans(mark)) == 0 && len(h.processes("")) == 0 })
}
