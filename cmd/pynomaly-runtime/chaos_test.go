package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/backends/process"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

// chaosHost is a real host whose process plugins will fail.
type chaosHost struct {
	*hostProcess
	dir, url string
}

// startChaos starts a host that serves a WASM plugin, "other", and what is written
// below its models directory.
func startChaos(t *testing.T) *chaosHost {
	t.Helper()
	root := t.TempDir()
	h := &chaosHost{dir: filepath.Join(root, "models")}
	if err := os.Mkdir(h.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	testkit.CopyModel(t, h.dir, "ecod-c", "other", "1.0.0", nil)
	testkit.WriteFaulty(t, h.dir, "victim", `"delay":20`, "processes: 2\n")
	file := filepath.Join(root, "plugins.yaml")
	text := fmt.Sprintf("models: {dir: %s, cache_size: 100, rescan: 100ms}\nserver: {port: 0, drain: 0s, timeouts: {request: 10m}}\nstate_dir: %s\nbackends: {process: {enabled: true, user: %q, allow: [{path: %s}]}}\n",
		h.dir, filepath.Join(root, "state"), testkit.PluginUser(), h.dir)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h.hostProcess = startCommand(t, realBinary(t), "serve", "--config", file)
	h.next(`"message":"serving"`)
	go h.drain()
	h.url = "http://" + h.address
	testkit.Eventually(t, "ready", func() bool {
		resp, err := http.Get(h.url + "/ready")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil && resp.StatusCode == http.StatusOK
	})
	return h
}

// processes returns the host's plugin processes, oldest first. If word is not empty,
// their command line must contain it.
func (h *chaosHost) processes(word string) []int {
	all, _ := filepath.Glob("/proc/[0-9]*/environ")
	mark := process.HostEnv + "=" + strconv.Itoa(h.cmd.Process.Pid) + "\x00"
	var out []int
	for _, file := range all {
		data, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(data), mark) {
			continue
		}
		line, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		if err != nil || !strings.HasPrefix(string(line), word) {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(file, "/")[2]); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

// victim is a model that must answer whatever other models do.
type victim struct {
	hosttest.Tally
	body string
}

// load sends requests until stop is closed.
func (v *victim) load(url string, callers int, pace time.Duration, stop chan struct{}, wg *sync.WaitGroup) {
	for range callers {
		wg.Go(func() {
			client := &http.Client{Timeout: 10 * time.Minute} // only ends what hangs
			tick := time.NewTicker(pace)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					begin := time.Now()
					failure := hosttest.Ask(client, url, v.body)
					v.Count(time.Since(begin), failure)
				}
			}
		})
	}
}

const (
	otherBody  = `{"model_id": "other", "data": [8, 155, 62, 26, 495, 34, 0.543, 46]}`
	victimBody = `{"model_id": "victim", "data": [1, 2]}`
)

// TestChaosFaults puts one faulty plugin after the other into the directory of a
// real host, and kills and stops the processes of another plugin in the middle of
// batches. Each fault ends with its cause. Another model, and the plugin whose
// processes die while one stays up, lose no request. With -v it prints the table.
func TestChaosFaults(t *testing.T) {
	h := startChaos(t)
	other, crashing := &victim{body: otherBody}, &victim{body: victimBody}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	other.load(h.url, 1, 5*time.Millisecond, stop, &wg)
	crashing.load(h.url, 3, 10*time.Millisecond, stop, &wg)
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "fault\tended after\twhat was said")
	told := func(name string, took time.Duration, said string) {
		fmt.Fprintf(w, "%s\t%d ms\t%.120s\n", name, took.Milliseconds(), strings.ReplaceAll(said, "\n", "; "))
	}
	// These are faults of a plugin whose other process continues.
	both := func() bool { return len(h.processes("victim")) == 2 }
	for _, f := range []struct {
		name   string
		signal syscall.Signal
	}{
		{"kill -9 in the middle of a batch", syscall.SIGKILL}, {"kill -9 again", syscall.SIGKILL}, {"SIGSTOP", syscall.SIGSTOP},
		{"SIGSEGV", syscall.SIGSEGV}, {"SIGTERM", syscall.SIGTERM},
	} {
		testkit.Eventually(t, "both processes are up", both)
		answered(t, h.url, victimBody)
		start := time.Now()
		old := h.processes("victim")[0]
		if err := syscall.Kill(old, f.signal); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, f.name+": another process has taken its place", func() bool {
			now := h.processes("victim")
			return len(now) == 2 && now[0] != old && now[1] != old
		})
		told(f.name, time.Since(start), "another process was started; none of the plugin's requests failed")
	}
	for k, f := range faults() {
		id := fmt.Sprintf("fault-%02d", k)
		testkit.WriteFaulty(t, h.dir, id, `"fault":"`+f.fault+`","concurrency":1`, fmt.Sprintf("limits: {timeout: %s, load_timeout: %s, memory: 256MiB}\n", cmp.Or(f.timeout, "5m"), cmp.Or(f.load, "10m")))
		took, said := h.suffer(t, id, f)
		if !strings.Contains(said, f.want) {
			t.Errorf("%s ended with %q, want %q", f.name, said, f.want)
		}
		told(f.name, took, said)
		if err := os.RemoveAll(filepath.Join(h.dir, id)); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "nothing of it is left", func() bool { return len(h.processes(id)) == 0 })
	}
	took, said := h.replacedWhileStarting(t)
	told("the binary is replaced while it starts", took, said)
	took, said = h.deleted(t)
	told("the binary is deleted while it serves", took, said)
	close(stop)
	wg.Wait()
	_ = w.Flush()
	for name, v := range map[string]*victim{"another model": other, "the plugin whose processes die": crashing} {
		fmt.Fprintf(&table, "%s: %v\n", name, &v.Tally)
		v.None(t)
	}
	t.Log("\n" + table.String())
	h.stop()
	if left := h.processes(""); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

// fault is a way in which the faulty plugin misbehaves.
type fault struct {
	name, fault string
	row         string // that brings it about; empty: it comes at the start
	want        string // of what the host says
	timeout     string // limits.timeout; empty: far off
	load        string // limits.load_timeout; empty: far off
}

func faults() []fault {
	all := []fault{
		{name: "exit at start", fault: "exit", want: "it printed: cannot find libfancy.so"},
		{name: "a handshake that never comes", fault: "silent", want: "did not start in time", load: "2s"},
		{name: "garbage on stdout", fault: "garbage", want: "Hello from a library", load: "15s"},
		{name: "a megabyte without a line's end on stdout", fault: "long", want: "printed more than 1048576 bytes"},
		{name: "a socket elsewhere", fault: "elsewhere", want: "not a socket in"},
		{name: "exit at configure", fault: "dies", want: "exit status 7"},
		{name: "configure never returns", fault: "hangs", want: "was not configured in time", load: "20s"},
		{name: `{"@level":1} on stderr`, fault: "level", row: "[1, 2]", want: `"score":3`},
		{name: "a gigabyte of stderr", fault: "gigabyte", row: "[1, 2]", want: `"score":3`},
		{name: "a reply of the wrong length", fault: "short-reply", want: "answered with"},
		{name: "NaN scores", fault: "nan", row: "[1, 2]", want: "not finite"},
		{name: "a reply after the deadline", row: "[-1003, 0]", want: "did not answer in time", timeout: "500ms"},
		{name: "a call that never returns", row: "[-1002, 0]", want: "did not answer in time", timeout: "2s"},
		{name: "memory beyond its limit", row: "[-1005, 0]", want: "limits.memory is 256 MiB"},
		{name: "a row that ends each process", row: "[-1001, 0]", want: "two processes ended while they scored this"},
		{name: "a panic", row: "[-1006, 0]", want: "the detector panicked"},
	}
	return append(all, fault{name: "a fork bomb", row: "[-1004, 0]", want: "two processes ended while they scored this"})
}

// suffer waits until a model has failed to load, or has loaded and received the
// faulty row.
func (h *chaosHost) suffer(t *testing.T, id string, f fault) (time.Duration, string) {
	t.Helper()
	start := time.Now()
	var status api.ModelVersion
	testkit.Eventually(t, id+" is loaded or refused", func() bool {
		var m api.Model
		_ = json.Unmarshal([]byte(fetch(t, h.url+"/api/v1/models/"+id, "GET", "")), &m)
		if len(m.Versions) != 1 {
			return false
		}
		status = m.Versions[0]
		return status.Status == "loaded" || (status.Status == "failed" && !strings.Contains(status.Error, "being written"))
	})
	if status.Status == "failed" {
		return time.Since(start), status.Error
	}
	if f.row == "" {
		t.Errorf("%s: it was loaded", f.name)
	}
	start = time.Now()
	said := fetch(t, h.url+"/api/v1/predict", "POST", `{"model_id": "`+id+`", "data": `+f.row+`}`)
	took := time.Since(start)
	return took, said
}

// replacedWhileStarting overwrites the binary as soon as the host has read it. The
// bytes that were read run, and the change is noticed and refused.
func (h *chaosHost) replacedWhileStarting(t *testing.T) (time.Duration, string) {
	t.Helper()
	start := time.Now()
	testkit.WriteFaulty(t, h.dir, "replaced", "", "")
	file := filepath.Join(h.dir, "replaced", "1.0.0", "plugin")
	testkit.Eventually(t, "it starts", func() bool { return len(h.processes("replaced")) > 0 })
	next := file + ".new"
	if err := os.WriteFile(next, []byte("#!/bin/sh\necho replaced >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, file); err != nil {
		t.Fatal(err)
	}
	var said string
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(said)
		}
	})
	testkit.Eventually(t, "the change is refused", func() bool {
		said = fetch(t, h.url+"/api/v1/models/replaced", "GET", "")
		return strings.Contains(said, "it printed: replaced")
	})
	answered(t, h.url, `{"model_id": "replaced", "data": [1, 2]}`)
	return time.Since(start), "the bytes that were read run; the new ones are refused, the old ones go on"
}

// deleted removes the binary's file while it serves, and kills the process, which
// starts again from the checked bytes.
func (h *chaosHost) deleted(t *testing.T) (time.Duration, string) {
	t.Helper()
	start := time.Now()
	testkit.WriteFaulty(t, h.dir, "deleted", "", "")
	testkit.Eventually(t, "it serves", func() bool { return isAnswered(t, h.url, `{"model_id": "deleted", "data": [1, 2]}`) })
	if err := os.Remove(filepath.Join(h.dir, "deleted", "1.0.0", "plugin")); err != nil {
		t.Fatal(err)
	}
	for _, pid := range h.processes("deleted") {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	testkit.Eventually(t, "it serves again", func() bool { return isAnswered(t, h.url, `{"model_id": "deleted", "data": [1, 2]}`) })
	return time.Since(start), "started again from the bytes that were checked"
}

func isAnswered(t *testing.T, url, body string) bool {
	t.Helper()
	return strings.Contains(fetch(t, url+"/api/v1/predict", "POST", body), `"score"`)
}

func answered(t *testing.T, url, body string) {
	t.Helper()
	if text := fetch(t, url+"/api/v1/predict", "POST", body); !strings.Contains(text, `"score"`) {
		t.Errorf("%s: %s", body, text)
	}
}

// TestChaosHostKilled kills the host, and checks that its plugins and their children
// end within two seconds and that no socket is left.
func TestChaosHostKilled(t *testing.T) {
	before := privateDirs(t)
	h := startChaos(t)
	testkit.WriteFaulty(t, h.dir, "parent", `"fault":"children"`, "processes: 2\n")
	testkit.Eventually(t, "all are up, two of them with a child", func() bool { return len(h.processes("")) == 6 })
	pids := h.processes("")
	if err := h.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-h.drained
	_ = h.cmd.Wait()
	killed := time.Now()
	testkit.Eventually(t, "its plugins are gone", func() bool { return len(alive(pids)) == 0 })
	took := time.Since(killed)
	testkit.Eventually(t, "its private directory is gone", func() bool { return len(privateDirs(t)) <= len(before) })
	t.Logf("the plugins were gone %d ms after their host", took.Milliseconds())
}

// TestChaosUpgrade replaces the binary of a serving plugin by another version again
// and again under load, and checks that no request is lost and that the old
// processes end.
func TestChaosUpgrade(t *testing.T) {
	h := startChaos(t)
	v := &victim{body: victimBody}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	v.load(h.url, 3, 5*time.Millisecond, stop, &wg)
	for n := range 5 {
		old := h.processes("victim")
		testkit.WriteFaulty(t, h.dir, "victim", fmt.Sprintf(`"delay":%d`, 10+n), "processes: 2\n")
		testkit.Eventually(t, "the new processes have taken over", func() bool {
			return len(h.processes("victim")) == 2 && len(alive(old)) == 0
		})
	}
	close(stop)
	wg.Wait()
	v.None(t)
	h.stop()
}

func privateDirs(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(os.TempDir(), "pynomaly-process-*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// alive returns the processes that still exist, except zombies of a dead host, which
// init collects.
func alive(pids []int) []int {
	var out []int
	for _, pid := range pids {
		text, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
		if err == nil && !strings.HasPrefix(strings.TrimSpace(string(text)), "Z") {
			out = append(out, pid)
		}
	}
	return out
}
