package faults

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// hangs is how long a test waits for what must happen at some time. It only ends
// what never would.
const hangs = 3 * time.Minute

// place is where a host keeps everything; the next host may take it over.
type place struct {
	root, models, state, tmp string
}

func newPlace(t *testing.T) place {
	t.Helper()
	root, err := os.MkdirTemp("", "pynomaly-faults-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { testkit.Eventually(t, root+" is removed", func() bool { return os.RemoveAll(root) == nil }) })
	p := place{root: root, models: filepath.Join(root, "models"), state: filepath.Join(root, "state"), tmp: filepath.Join(root, "tmp")}
	for _, dir := range []string{root, p.models, p.state, p.tmp} {
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// own gives everything below the place to a user.
func (p place) own(t *testing.T, uid int) {
	t.Helper()
	if err := filepath.WalkDir(p.root, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, uid, uid))
	}); err != nil {
		t.Fatal(err)
	}
}

// options change how a host is started.
type options struct {
	args    []string // more arguments of serve
	env     []string
	limits  map[int]uint64 // resource limits
	group   *group
	uid     int
	stderr  *os.File // instead of a file
	plugins bool     // models may be process plugins
	cold    bool     // compiled code of earlier hosts is not there
	drain   string   // instead of 1s
}

// usualDrain is the drain of a host that is told nothing.
const usualDrain = "usual"

// host is a running host.
type host struct {
	place
	t       *testing.T
	cmd     *exec.Cmd
	url     string
	address string
	logFile string
	ended   chan struct{} // closed when the process has ended
	err     error         // how, once it has
}

// start starts a host at a place. The test's cleanup ends it.
func start(t *testing.T, p place, o options) *host {
	t.Helper()
	h := &host{place: p, t: t, address: freeAddress(t), ended: make(chan struct{})}
	h.url = "http://" + h.address
	_, port, _ := net.SplitHostPort(h.address)
	args := []string{
		binary(t), "serve", "--port", port, "--models", p.models, "--state-dir", p.state, "--rescan", "200ms", "--model-cache-size", "400",
	}
	if o.drain != usualDrain {
		args = append(args, "--drain", cmp.Or(o.drain, "1s"))
	}
	if o.plugins {
		file := filepath.Join(p.root, "plugins.yaml")
		text := fmt.Sprintf("backends: {process: {enabled: true, user: %q, allow: [{path: %s}]}}\n", testkit.PluginUser(), p.models)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", file)
	}
	if !o.cold && o.uid == 0 {
		args = append(args, "--wasm-cache-dir", testkit.WASMCache())
	}
	l := launcher{Args: append(args, o.args...), Limits: o.limits, UID: o.uid}
	if o.group != nil {
		l.Groups = o.group.dirs
	}
	text, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	h.cmd = exec.Command("/proc/self/exe")
	h.cmd.Dir = p.root
	h.cmd.Env = append(os.Environ(), "PYNOMALY_BACKENDS_ONNX_LIBRARY="+testkit.Library(), "TMPDIR="+p.tmp, launchEnv+"="+string(text))
	h.cmd.Env = append(h.cmd.Env, o.env...)
	h.cmd.Stderr = o.stderr
	if o.stderr == nil {
		f, err := os.CreateTemp(p.root, "log-*")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		h.logFile, h.cmd.Stderr = f.Name(), f
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		h.err = h.cmd.Wait()
		close(h.ended)
	}()
	t.Cleanup(h.end)
	return h
}

// end kills a host that still runs, and shows how it fared if the test has failed.
func (h *host) end() {
	_ = h.cmd.Process.Kill()
	<-h.ended
	log := h.log()
	for _, sign := range []string{"panic:", "fatal error:", "runtime: failed"} {
		if at := strings.Index(log, sign); at >= 0 {
			h.t.Errorf("the host crashed: %.600s", log[at:])
			return
		}
	}
	if h.t.Failed() {
		var lines []string
		for line := range strings.Lines(log) {
			if !strings.Contains(line, `"message":"prediction"`) {
				lines = append(lines, line)
			}
		}
		h.t.Logf("the host ended with %v; the end of its log:\n%s", h.err, strings.Join(lines[max(0, len(lines)-10):], ""))
	}
}

// log returns what the host has logged.
func (h *host) log() string {
	if h.logFile == "" {
		return ""
	}
	text, _ := os.ReadFile(h.logFile)
	return string(text)
}

func (h *host) logged(text string) bool { return strings.Contains(h.log(), text) }

// signal sends a signal to the host.
func (h *host) signal(s syscall.Signal) {
	_ = h.cmd.Process.Signal(s)
}

// lives reports whether the process has not ended.
func (h *host) lives() bool {
	select {
	case <-h.ended:
		return false
	default:
		return true
	}
}

// mustLive fails the test if the process has ended.
func (h *host) mustLive() {
	h.t.Helper()
	if !h.lives() {
		h.t.Fatalf("the host has ended: %v", h.err)
	}
}

// eventually waits for a condition while the host lives.
func (h *host) eventually(what string, holds func() bool) {
	h.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(hangs); !holds(); {
		select {
		case <-h.ended:
			h.t.Fatalf("the host has ended (%v) before %s", h.err, what)
		case <-limit:
			h.t.Fatalf("never happened: %s", what)
		case <-tick.C:
		}
	}
}

// stop asks the host to stop and returns how long that took. It fails the test if
// that takes longer than most, or the host does not exit with code 0.
func (h *host) stop(most time.Duration) time.Duration {
	h.t.Helper()
	h.signal(syscall.SIGTERM)
	took := h.wait(most)
	if h.err != nil {
		h.t.Errorf("it was asked to stop and ended with %v", h.err)
	}
	return took
}

// wait waits until the host has ended.
func (h *host) wait(most time.Duration) time.Duration {
	h.t.Helper()
	begin := time.Now()
	select {
	case <-h.ended:
	case <-time.After(most):
		h.t.Fatalf("it had not ended after %v", most)
	}
	return time.Since(begin)
}

// status returns the status of a GET, 0 if there is no answer.
func (h *host) status(path string) int {
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(h.url + path)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// ready waits until the host says that it is.
func (h *host) ready() *host {
	h.t.Helper()
	h.eventually("the host is ready", func() bool { return h.status("/ready") == http.StatusOK })
	return h
}

// send sends a request on a connection of its own. Its status is 0 if there is no
// answer.
func (h *host) send(method, path, body string) (status int, text string) {
	client := http.Client{Timeout: hangs, Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
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

// version returns what the API says of a model's only version; nil if it does not
// know the model.
func (h *host) version(id string) *api.ModelVersion {
	_, text := h.send(http.MethodGet, "/api/v1/models/"+id, "")
	var m api.Model
	if json.Unmarshal([]byte(text), &m) != nil || len(m.Versions) != 1 {
		return nil
	}
	return &m.Versions[0]
}

// serves waits until a model is loaded, and returns how long that took.
func (h *host) serves(id string) time.Duration {
	h.t.Helper()
	begin := time.Now()
	h.eventually(id+" is loaded", func() bool { v := h.version(id); return v != nil && v.Status == "loaded" })
	return time.Since(begin)
}

// tried waits until a model has been loaded or has failed to, and returns what the
// API says of it.
func (h *host) tried(id string) *api.ModelVersion {
	h.t.Helper()
	var v *api.ModelVersion
	h.eventually(id+" is loaded, or not", func() bool {
		v = h.version(id)
		return v != nil && (v.Status == "loaded" || (v.Error != "" && !strings.Contains(v.Error, "being written")))
	})
	return v
}

// loaded returns how many versions are loaded, and the reasons of those that are not.
func (h *host) loaded() (n int, not []string) {
	_, text := h.send(http.MethodGet, "/api/v1/models", "")
	var list api.ModelList
	_ = json.Unmarshal([]byte(text), &list)
	for _, v := range list.Models {
		if v.Status == "loaded" {
			n++
		} else {
			not = append(not, fmt.Sprintf("%s is %s: %s", v.ModelID, v.Status, v.Error))
		}
	}
	return n, not
}

// metric returns the sum of a metric's samples, or of those whose labels begin so; 0
// if there is none.
func (h *host) metric(name string) float64 {
	_, text := h.send(http.MethodGet, "/metrics", "")
	sum := 0.0
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || (rest[0] != ' ' && rest[0] != '{' && !strings.Contains(name, "{")) {
			continue
		}
		fields := strings.Fields(line)
		v, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			h.t.Fatal(err)
		}
		sum += v
	}
	return sum
}

// resident returns the resident memory of the host, in bytes.
func (h *host) resident() int64 {
	h.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", h.cmd.Process.Pid))
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 2 {
		h.t.Fatalf("the host's memory cannot be read: %v %q", err, text)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		h.t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

const mega = 1000 * 1000

func mb(n int64) string { return fmt.Sprintf("%d MB", n/mega) }

func ms(d time.Duration) string {
	if d >= 10*time.Second {
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}

// binary returns the host under test.
func binary(t *testing.T) string {
	t.Helper()
	file := os.Getenv("FAULTS_BINARY")
	if file == "" {
		file = filepath.Join(testkit.Root(), "bin", "pynomaly-runtime")
	}
	if _, err := os.Stat(file); err != nil {
		t.Fatalf("run `make build` first: %v", err)
	}
	return file
}

// freeAddress returns a loopback address that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
