package hosttest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/api/client"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// Hangs is how long a test waits for something that must happen. Only a test that
// would otherwise hang reaches it.
const Hangs = 10 * time.Minute

// Options change how a host is started.
type Options struct {
	Args    []string // further arguments of serve
	Env     []string
	Limits  map[int]uint64 // resource limits
	Groups  []string       // directories of control groups to join
	UID     int
	Stderr  *os.File // nil: a file
	Plugins bool     // allow process plugins
	Config  string   // contents of plugins.yaml; empty: the default
	Cold    bool     // start without compiled code of earlier hosts
	Drain   string   // empty: 1s
	Key     string   // API key or token of the test's own requests; empty: none
}

// UsualDrain as Options.Drain starts the host without a setting for its drain.
const UsualDrain = "usual"

// Host is a running host.
type Host struct {
	Place
	T       *testing.T
	Cmd     *exec.Cmd
	URL     string
	Address string
	logFile string
	key     string
	ended   chan struct{} // closed when the process has ended
	Err     error         // how the process ended; valid once ended is closed
}

// Start starts a host at a place. The test's cleanup kills it.
func Start(t *testing.T, p Place, o Options) *Host {
	t.Helper()
	if os.Getenv(launchEnv) != "" { // this process was to become a host
		t.Fatal("the package must call Main from its TestMain")
	}
	h := &Host{Place: p, T: t, Address: testkit.FreeAddress(t), key: o.Key, ended: make(chan struct{})}
	h.URL = "http://" + h.Address
	_, port, _ := net.SplitHostPort(h.Address)
	args := []string{
		Binary(t), "serve", "--port", port, "--models", p.Models, "--state-dir", p.State, "--rescan", "200ms", "--model-cache-size", "400",
	}
	if o.Drain != UsualDrain {
		args = append(args, "--drain", cmp.Or(o.Drain, "1s"))
	}
	if o.Plugins && o.Config == "" {
		o.Config = fmt.Sprintf("backends: {process: {enabled: true, user: %q, allow: [{path: %s}]}}\n", testkit.PluginUser(), p.Models)
	}
	if o.Config != "" {
		file := filepath.Join(p.Root, "plugins.yaml")
		if err := os.WriteFile(file, []byte(o.Config), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", file)
	}
	if !o.Cold && o.UID == 0 {
		args = append(args, "--wasm-cache-dir", testkit.WASMCache())
	}
	l := launcher{Args: append(args, o.Args...), Limits: o.Limits, UID: o.UID, Groups: o.Groups}
	text, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	h.Cmd = exec.Command("/proc/self/exe")
	h.Cmd.Dir = p.Root
	h.Cmd.Env = append(os.Environ(), "PYNOMALY_BACKENDS_ONNX_LIBRARY="+testkit.Library(), "TMPDIR="+p.Tmp, launchEnv+"="+string(text))
	h.Cmd.Env = append(h.Cmd.Env, o.Env...)
	h.Cmd.Stderr = o.Stderr
	if o.Stderr == nil {
		f, err := os.CreateTemp(p.Root, "log-*")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		h.logFile, h.Cmd.Stderr = f.Name(), f
	}
	if err := h.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		h.Err = h.Cmd.Wait()
		close(h.ended)
	}()
	t.Cleanup(h.End)
	return h
}

// End kills the host if it still runs, and logs how it ended if the test has failed.
func (h *Host) End() {
	_ = h.Cmd.Process.Kill()
	<-h.ended
	log := "\n" + h.Log()
	for _, sign := range []string{"\npanic:", "\nfatal error:", "\nruntime: failed"} { // in a line of the log they are others' words
		if at := strings.Index(log, sign); at >= 0 {
			h.T.Errorf("the host crashed: %.600s", log[at:])
			return
		}
	}
	if h.T.Failed() {
		var lines []string
		for line := range strings.Lines(log) {
			if !strings.Contains(line, `"message":"prediction"`) {
				lines = append(lines, line)
			}
		}
		h.T.Logf("the host ended with %v; the end of its log:\n%s", h.Err, strings.Join(lines[max(0, len(lines)-10):], ""))
	}
}

// Log returns what the host has logged.
func (h *Host) Log() string {
	if h.logFile == "" {
		return ""
	}
	text, _ := os.ReadFile(h.logFile)
	return string(text)
}

// Logged reports whether the host's log contains text.
func (h *Host) Logged(text string) bool { return strings.Contains(h.Log(), text) }

// Signal sends a signal to the host.
func (h *Host) Signal(s syscall.Signal) {
	_ = h.Cmd.Process.Signal(s)
}

// Lives reports whether the process is running.
func (h *Host) Lives() bool {
	select {
	case <-h.ended:
		return false
	default:
		return true
	}
}

// MustLive fails the test if the process has ended.
func (h *Host) MustLive() {
	h.T.Helper()
	if !h.Lives() {
		h.T.Fatalf("the host has ended: %v", h.Err)
	}
}

// Eventually waits for a condition while the host lives.
func (h *Host) Eventually(what string, holds func() bool) {
	h.T.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(Hangs); !holds(); {
		select {
		case <-h.ended:
			h.T.Fatalf("the host has ended (%v) before %s", h.Err, what)
		case <-limit:
			h.T.Fatalf("timed out: %s", what)
		case <-tick.C:
		}
	}
}

// Stop asks the host to stop and returns how long that took. The test fails if that
// takes longer than most or if the exit code is not 0.
func (h *Host) Stop(most time.Duration) time.Duration {
	h.T.Helper()
	h.Signal(syscall.SIGTERM)
	took := h.Wait(most)
	if h.Err != nil {
		h.T.Errorf("it was asked to stop but ended with %v", h.Err)
	}
	return took
}

// Wait waits until the host has ended.
func (h *Host) Wait(most time.Duration) time.Duration {
	h.T.Helper()
	begin := time.Now()
	select {
	case <-h.ended:
	case <-time.After(most):
		h.T.Fatalf("it had not ended after %v", most)
	}
	return time.Since(begin)
}

// Status returns the status of a GET, or 0 without a response.
func (h *Host) Status(path string) int {
	client := http.Client{Timeout: Hangs, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(h.URL + path)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// Ready waits until the host is ready.
func (h *Host) Ready() *Host {
	h.T.Helper()
	h.Eventually("the host is ready", func() bool { return h.Status("/ready") == http.StatusOK })
	return h
}

// Send sends a request on a new connection. The status is 0 without a response.
func (h *Host) Send(method, path, body string) (status int, text string) {
	client := http.Client{Timeout: Hangs, Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(h.T.Context(), method, h.URL+path, strings.NewReader(body))
	if err != nil {
		h.T.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if h.key != "" {
		req.Header.Set("X-API-Key", h.key)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(all)
}

// Client returns a client of the host that keeps no connection.
func (h *Host) Client() *client.Client {
	h.T.Helper()
	c, err := client.New(client.Config{URL: h.URL, Key: h.key, HTTP: &http.Client{Timeout: Hangs, Transport: &http.Transport{DisableKeepAlives: true}}})
	if err != nil {
		h.T.Fatal(err)
	}
	return c
}

// Version returns the API's description of a model's only version, or nil if the
// host does not know the model.
func (h *Host) Version(id string) *api.ModelVersion {
	m, err := h.Client().Model(h.T.Context(), id)
	if err != nil || len(m.Versions) != 1 {
		return nil
	}
	return &m.Versions[0]
}

// Serves waits until a model is loaded, and returns how long that took.
func (h *Host) Serves(id string) time.Duration {
	h.T.Helper()
	begin := time.Now()
	h.Eventually(id+" is loaded", func() bool { v := h.Version(id); return v != nil && v.Status == "loaded" })
	return time.Since(begin)
}

// Tried waits until loading a model has succeeded or failed, and returns the API's
// description of it.
func (h *Host) Tried(id string) *api.ModelVersion {
	h.T.Helper()
	var v *api.ModelVersion
	h.Eventually(id+" is loaded, or not", func() bool {
		v = h.Version(id)
		return v != nil && (v.Status == "loaded" || (v.Error != "" && !strings.Contains(v.Error, "being written")))
	})
	return v
}

// Loaded returns the number of loaded versions, and the errors of the others.
func (h *Host) Loaded() (n int, not []string) {
	list, err := h.Client().Models(h.T.Context())
	if err != nil {
		return 0, []string{err.Error()}
	}
	for _, v := range list.Models {
		if v.Status == "loaded" {
			n++
		} else {
			not = append(not, fmt.Sprintf("%s is %s: %s", v.ModelID, v.Status, v.Error))
		}
	}
	return n, not
}

// Metric returns the sum of a metric's samples whose name and labels begin with
// name, or 0.
func (h *Host) Metric(name string) float64 {
	_, text := h.Send(http.MethodGet, "/metrics", "")
	sum := 0.0
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || (rest[0] != ' ' && rest[0] != '{' && !strings.Contains(name, "{")) {
			continue
		}
		fields := strings.Fields(line)
		v, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			h.T.Fatal(err)
		}
		sum += v
	}
	return sum
}

// Resident returns the resident memory of the host, in bytes.
func (h *Host) Resident() int64 {
	h.T.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", h.Cmd.Process.Pid))
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 2 {
		h.T.Fatalf("the host's memory cannot be read: %v %q", err, text)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		h.T.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// Mega is a million.
const Mega = 1000 * 1000

// MB formats a number of bytes.
func MB(n int64) string { return fmt.Sprintf("%d MB", n/Mega) }

// MS formats a duration.
func MS(d time.Duration) string {
	if d >= 10*time.Second {
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}

// Binary returns the path of the host under test.
func Binary(t *testing.T) string {
	t.Helper()
	file := os.Getenv("HOSTTEST_BINARY")
	if file == "" {
		file = filepath.Join(testkit.Root(), "bin", "pynomaly-runtime")
	}
	if _, err := os.Stat(file); err != nil {
		t.Fatalf("run `make build` first: %v", err)
	}
	return file
}

// ForgetPeak resets the kernel's record of a process's peak memory.
func ForgetPeak(t *testing.T, pid int) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
}

// Peak returns the largest number of resident bytes of a process since its start or
// ForgetPeak.
func Peak(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kilobytes int64
	if _, err := fmt.Sscanf(rest, "%d kB", &kilobytes); err != nil {
		t.Fatalf("%v: %s", err, status)
	}
	return kilobytes << 10
}
