package faults

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

func pluginScenarios() []scenario {
	return []scenario{
		{
			id: "plugin-setsid-stop", does: "a plugin has started 50 processes in sessions of their own; SIGTERM to the host",
			must: "none of them is left", run: func(t *testing.T, r *row) { pluginSetsid(t, r, syscall.SIGTERM) },
		},
		{
			id: "plugin-setsid-kill", does: "the same, kill -9 to the host",
			must: "none of them is left", run: func(t *testing.T, r *row) { pluginSetsid(t, r, syscall.SIGKILL) },
		},
		{
			id: "plugin-forks", does: "a plugin starts 300 processes beside a good one, whose process is killed meanwhile",
			must: "the good one is served and started again; nothing is left after a stop", run: pluginForks,
		},
	}
}

// descendants returns the processes that carry a host's mark: its plugins and what
// they have started. Zombies are not among them.
func (h *host) descendants(word string) []int {
	all, _ := filepath.Glob("/proc/[0-9]*/environ")
	pid := strconv.Itoa(h.cmd.Process.Pid) + "\x00"
	var out []int
	for _, file := range all {
		data, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(data), "PYNOMALY_HOST_PID="+pid) && !strings.Contains(string(data), "PYNOMALY_PLUGIN_PARENT="+pid) {
			continue
		}
		line, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		if err != nil || !strings.HasPrefix(string(line), word) {
			continue
		}
		if n, err := strconv.Atoi(strings.Split(file, "/")[2]); err == nil {
			out = append(out, n)
		}
	}
	return out
}

// clear kills what a host has left behind.
func (h *host) clear() {
	for _, pid := range h.descendants("") {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// sleepers is the program that the faulty plugin starts.
const sleepers = "/bin/sleep"

func pluginSetsid(t *testing.T, r *row, s syscall.Signal) {
	p := newPlace(t)
	testkit.WriteFaulty(t, p.models, "leaver", `"fault":"setsid","count":50`, "")
	h := start(t, p, options{plugins: true})
	t.Cleanup(h.clear)
	h.ready()
	h.serves("leaver")
	h.eventually("it has started them", func() bool { return len(h.descendants(sleepers)) >= 50 })
	h.signal(s)
	h.wait(hangs)
	begin := time.Now()
	deadline := begin.Add(pick(20*time.Second, time.Minute))
	left := h.descendants("")
	for len(left) > 0 && time.Now().Before(deadline) {
		left = h.descendants("")
	}
	r.note("%d left after %s", len(left), ms(time.Since(begin)))
	if len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

func pluginForks(t *testing.T, r *row) {
	p := newPlace(t)
	testkit.WriteFaulty(t, p.models, "good", `"concurrency":4`, "processes: 2\n")
	testkit.WriteFaulty(t, p.models, "forks", `"fault":"setsid","count":300`, "limits: {load_timeout: 1m}\n")
	h := start(t, p, options{plugins: true})
	t.Cleanup(h.clear)
	h.serves("good")
	tr := h.traffic(`{"model_id": "good", "data": [1, 2]}`)
	tr.more(h, 50)
	h.eventually("it has started what it can", func() bool { return len(h.descendants(sleepers)) >= 50 })
	started := 0
	for range pick(3, 10) {
		started = max(started, len(h.descendants(sleepers)))
		old := h.descendants("good")
		if len(old) != 2 {
			t.Fatalf("the good plugin has %d processes", len(old))
		}
		_ = syscall.Kill(old[0], syscall.SIGKILL)
		h.eventually("the good plugin's process is started again", func() bool {
			now := h.descendants("good")
			return len(now) == 2 && now[0] != old[0] && now[1] != old[0]
		})
		tr.more(h, 100)
	}
	tr.end()
	tr.none(t)
	r.note("%d processes beside it: %v", started, &tr.tally)
	h.stop(hangs)
	testkit.Eventually(t, "nothing is left", func() bool { return len(h.descendants("")) == 0 })
}
