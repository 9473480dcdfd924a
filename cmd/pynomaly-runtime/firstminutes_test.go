package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// full reports whether tests do everything that users do instead of using existing
// builds: PYNOMALY_TEST_FULL=1.
func full() bool { return os.Getenv("PYNOMALY_TEST_FULL") != "" }

// checkout copies the files of this checkout that a clone has, with uncommitted
// changes.
func checkout(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	list := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = testkit.Root()
	names, err := list.Output()
	if err != nil {
		t.Fatalf("listing the files of the checkout: %v", err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(names), "\x00"), "\x00") {
		from, to := filepath.Join(testkit.Root(), name), filepath.Join(dir, name)
		info, err := os.Stat(from)
		if os.IsNotExist(err) {
			continue // deleted, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// statement is a command of a page, and the answer that the page shows.
type statement struct{ text, answer string }

var shellBlock = regexp.MustCompile("(?s)```(sh|console)\n(.*?)```")

// statements returns all commands of a page, in order.
func statements(page string) []statement {
	var all []statement
	for _, m := range shellBlock.FindAllStringSubmatch(page, -1) {
		console, open := m[1] == "console", false
		for line := range strings.Lines(m[2]) {
			command, prompt := strings.CutPrefix(line, "$ ")
			switch {
			case open:
				all[len(all)-1].text += line
			case console && !prompt:
				all[len(all)-1].answer += line
				continue
			case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#"):
				continue
			default:
				all = append(all, statement{text: command})
			}
			open = strings.HasSuffix(line, "\\\n")
		}
	}
	return all
}

// reader follows a page in a checkout like a person: a host runs in the background
// until the page starts another one.
type reader struct {
	t       *testing.T
	dir     string
	env     []string
	address string
	host    *exec.Cmd
	output  *bytes.Buffer // of the host; to be read when it has ended
	ended   chan struct{}
}

func newReader(t *testing.T) *reader {
	t.Helper()
	r := &reader{t: t, dir: checkout(t), address: testkit.FreeAddress(t)}
	_, port, _ := net.SplitHostPort(r.address)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PYNOMALY_") && !strings.HasPrefix(v, "MAKE") && !strings.HasPrefix(v, "BE_PYNOMALY") {
			r.env = append(r.env, v)
		}
	}
	r.env = append(r.env, "GOWORK=off", "PORT="+port, "PYNOMALY_SERVER_PORT="+port, "TMPDIR="+t.TempDir(), "XDG_STATE_HOME="+t.TempDir())
	t.Cleanup(r.stop)
	return r
}

func (r *reader) command(text string) *exec.Cmd {
	cmd := exec.Command("sh", "-ec", strings.ReplaceAll(text, "127.0.0.1:8080", r.address))
	cmd.Dir, cmd.Env = r.dir, r.env
	return cmd
}

// do runs one command of a page.
func (r *reader) do(s statement) {
	r.t.Helper()
	bare, _, _ := strings.Cut(s.text, " #")
	bare = strings.TrimSpace(bare)
	switch {
	case bare == "make test": // this is a part of it
	case bare == "make run" && !full():
		// The rest of the command takes minutes.
		r.start("bin/pynomaly-runtime serve --config plugins.yaml --models testdata/models")
	case bare == "make run":
		r.start(bare)
	case strings.HasSuffix(bare, "&"):
		r.start("exec " + strings.TrimSuffix(bare, "&"))
	default:
		var errs bytes.Buffer
		cmd := r.command(s.text)
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			r.t.Fatalf("%s: %v\n%s%s", s.text, err, out, errs.String())
		}
		if strings.HasPrefix(bare, "curl") {
			checkAnswer(r.t, s, out)
		}
	}
}

// start starts a host and waits until it is ready.
func (r *reader) start(text string) {
	r.t.Helper()
	r.stop()
	r.host, r.output, r.ended = r.command(text), new(bytes.Buffer), make(chan struct{})
	r.host.Stdout, r.host.Stderr = r.output, r.output
	r.host.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := r.host.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func(cmd *exec.Cmd, ended chan struct{}) { _ = cmd.Wait(); close(ended) }(r.host, r.ended)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-r.ended:
			output := r.output.String()
			r.host = nil
			r.t.Fatalf("%s has ended:\n%s", text, output)
		case <-tick.C:
		}
		resp, err := http.Get("http://" + r.address + "/ready")
		if err != nil {
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return
		}
	}
}

// stop interrupts the host as Ctrl-C does, and waits for its end.
func (r *reader) stop() {
	if r.host == nil {
		return
	}
	http.DefaultClient.CloseIdleConnections()
	_ = syscall.Kill(-r.host.Process.Pid, syscall.SIGINT)
	<-r.ended
	r.host = nil
}

// checkAnswer checks that an answer is JSON and not a problem. If the page shows an
// answer, both must have the same form and the same numbers, except for numbers that
// differ each time.
func checkAnswer(t *testing.T, s statement, out []byte) {
	t.Helper()
	var got, want map[string]any
	if err := json.Unmarshal(out, &got); err != nil || got["error_type"] != nil {
		t.Errorf("%s: %v: %s", s.text, err, out)
		return
	}
	if s.answer == "" {
		return
	}
	if err := json.Unmarshal([]byte(s.answer), &want); err != nil {
		t.Errorf("the page shows no JSON: %v: %s", err, s.answer)
	}
	for key, w := range want {
		g, there := got[key]
		number, isNumber := w.(float64)
		switch {
		case !there:
			t.Errorf("the page shows %s, the answer has none: %s", key, out)
		case slices.Contains([]string{"latency_ms", "prediction_time", "request_id"}, key):
		case isNumber:
			if v, ok := g.(float64); !ok || math.Abs(v-number) > 1e-6*math.Max(1, math.Abs(number)) {
				t.Errorf("the page shows %s %v, the answer has %v", key, w, g)
			}
		case g != w:
			t.Errorf("the page shows %s %v, the answer has %v", key, w, g)
		}
	}
}

// models returns the models that the host serves.
func (r *reader) models() api.ModelList {
	r.t.Helper()
	var list api.ModelList
	if err := json.Unmarshal([]byte(fetch(r.t, "http://"+r.address+"/api/v1/models", "GET", "")), &list); err != nil {
		r.t.Fatal(err)
	}
	return list
}

// own writes the files that pages call the reader's own.
func (r *reader) own() {
	r.t.Helper()
	at := slices.IndexFunc(testkit.Cases(r.t), func(c *testkit.Case) bool { return c.Name == "pima-lof" })
	c := testkit.Cases(r.t)[at]
	for _, name := range []string{"forest.onnx", "cardio.onnx", "better.onnx"} {
		testkit.CopyFile(r.t, testkit.Testdata("models", "pima-lof", "1.0.0", "model.onnx"), filepath.Join(r.dir, name))
	}
	for name, graph := range map[string]string{"fraud": "classifier", "autoencoder": "autoencoder", "boosted": "tree"} {
		testkit.CopyFile(r.t, testkit.Testdata("outputs", graph+".onnx"), filepath.Join(r.dir, name+".onnx"))
	}
	payments, sensors, gaps := "amount,age,visits,ratio,label\n", "a,b,c,d\n", "a,b,c,d\n"
	for i := range 40 {
		payments += fmt.Sprintf("%d,%d,1,0.5,%d\n", i, i%7, i%2)
		sensors += fmt.Sprintf("%d,%d,1,0.5\n", i, i%7)
		gaps += fmt.Sprintf("%d,,%d,1\n", i%3, i)
	}
	for name, text := range map[string]string{"payments.csv": payments, "sensors.csv": sensors, "gaps.csv": gaps} {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
	write(r.t, c, "csv", filepath.Join(r.dir, "train.csv"))
	write(r.t, c, "csv", filepath.Join(r.dir, "rows.csv"))
	write(r.t, c, "parquet", filepath.Join(r.dir, "rows.parquet"))
}

// built puts what `make run` builds into the checkout.
func (r *reader) built() {
	r.t.Helper()
	bin := filepath.Join(r.dir, "bin")
	if err := os.MkdirAll(filepath.Join(bin, "plugins"), 0o755); err != nil {
		r.t.Fatal(err)
	}
	for from, to := range map[string]string{realBinary(r.t): "pynomaly-runtime", testkit.Library(): filepath.Base(testkit.Library())} {
		testkit.CopyFile(r.t, from, filepath.Join(bin, to))
		if err := os.Chmod(filepath.Join(bin, to), 0o755); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(bin, "plugins", "ecod.wasm"), testkit.Detector(r.t, "ecod"), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.env = append(r.env, "PYNOMALY_BACKENDS_WASM_CACHE_DIR="+testkit.WASMCache())
}

// TestFirstMinutes runs every command of the README and of the quick start in the
// files of a fresh clone. With PYNOMALY_TEST_FULL=1 it also builds them with `make
// run`, and tries the requests that it prints.
func TestFirstMinutes(t *testing.T) {
	pages := map[string]string{"README.md": "my-detector", filepath.Join("docs", "quick-start.md"): "cardio"}
	for page, last := range pages {
		t.Run(filepath.Base(page), func(t *testing.T) {
			t.Parallel() // each has a checkout and a port of its own
			text, err := os.ReadFile(filepath.Join(testkit.Root(), page))
			if err != nil {
				t.Fatal(err)
			}
			r := newReader(t)
			r.own()
			if !full() {
				r.built()
			}
			all := statements(string(text))
			if len(all) < 7 || !strings.HasPrefix(all[0].text, "make run") {
				t.Fatalf("the page has the commands %q", all)
			}
			for _, s := range all {
				if strings.HasPrefix(s.text, "bin/pynomaly-runtime serve") {
					r.tryPrinted()
				}
				r.do(s)
			}
			testkit.Eventually(t, "all models that the page has made are served", func() bool {
				list := r.models()
				loaded := func(v api.ModelVersion) bool { return v.Status == "loaded" }
				mine := func(v api.ModelVersion) bool { return v.ModelID == last }
				return slices.ContainsFunc(list.Models, mine) && !slices.ContainsFunc(list.Models, func(v api.ModelVersion) bool { return !loaded(v) })
			})
		})
	}
}

// tryPrinted runs the requests that `make run` has printed, and counts its models.
func (r *reader) tryPrinted() {
	r.t.Helper()
	if !full() {
		return
	}
	if list := r.models(); list.Total != sampleModels(r.t) {
		r.t.Errorf("make run serves %d models", list.Total)
	}
	r.stopButAsk()
}

// stopButAsk ends the host, whose output may be read then, and sends the requests that
// it has printed to another host of the same models.
func (r *reader) stopButAsk() {
	r.t.Helper()
	r.stop()
	var printed []string
	for line := range strings.Lines(r.output.String()) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "curl ") {
			printed = append(printed, line)
		}
	}
	if len(printed) < 2 {
		r.t.Errorf("make run prints %d requests to try", len(printed))
	}
	r.start("exec bin/pynomaly-runtime serve --config plugins.yaml --models bin/models")
	for _, line := range printed {
		r.do(statement{text: line})
	}
}

var samplesFitted = regexp.MustCompile(`(?m)^samples:.*\n(?:.*\n)*?\t@for name in ([a-z ]+); do`)

// sampleModels returns how many models `make run` serves.
func sampleModels(t *testing.T) int {
	t.Helper()
	makefile, err := os.ReadFile(filepath.Join(testkit.Root(), "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	m := samplesFitted.FindStringSubmatch(string(makefile))
	dirs, err := os.ReadDir(testkit.Testdata("models"))
	if err != nil || m == nil {
		t.Fatalf("%v, %v", m, err)
	}
	return len(dirs) + len(strings.Fields(m[1]))
}

// TestSampleModels checks that the pages have the right number of sample models.
func TestSampleModels(t *testing.T) {
	words := map[int]string{10: "ten", 11: "eleven", 12: "twelve", 13: "thirteen", 14: "fourteen"}
	want := words[sampleModels(t)] + " sample models"
	for _, page := range []string{"README.md", filepath.Join("docs", "quick-start.md")} {
		text, err := os.ReadFile(filepath.Join(testkit.Root(), page))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), want) {
			t.Errorf("%s does not say %q", page, want)
		}
	}
}
