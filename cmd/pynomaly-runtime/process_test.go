package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

var serving = regexp.MustCompile(`"message":"serving".*"address":"([^"]+)"`)

// hostProcess is the real command, started by a test.
type hostProcess struct {
	t       *testing.T
	cmd     *exec.Cmd
	log     io.Closer // its end that is read
	lines   *bufio.Scanner
	seen    []string
	address string
	drained chan struct{}
}

// realBinary builds the command once without the race detector, which would make it
// several times slower.
func realBinary(t testing.TB) string {
	t.Helper()
	if err := builtBinary(); err != nil {
		t.Fatal(err)
	}
	return realBinaryFile()
}

func realBinaryFile() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("pynomaly-runtime-real-%d", os.Getpid()))
}

var builtBinary = sync.OnceValue(func() error {
	cmd := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", realBinaryFile(), ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the command: %w: %s", err, out)
	}
	return nil
})

// installed runs the command without the race detector, several times faster than
// with it. The error is its message.
func installed(t *testing.T, args ...string) (out, errs string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), realBinary(t), args...)
	cmd.Env = append(os.Environ(), "PYNOMALY_BACKENDS_ONNX_LIBRARY="+testkit.Library(),
		"PYNOMALY_STATE_DIR="+stateForTests(t), "PYNOMALY_BACKENDS_WASM_CACHE_DIR="+testkit.WASMCache())
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	if err = cmd.Run(); err != nil {
		err = fmt.Errorf("%w: %s", err, e.String())
	}
	return o.String(), e.String(), err
}

func startProcess(t *testing.T, args ...string) *hostProcess {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return startWith(t, []string{"PYNOMALY_BACKENDS_WASM_CACHE_DIR=" + testkit.WASMCache()}, exe, args...)
}

// startCommand starts a binary that is the command or can act as it.
func startCommand(t *testing.T, exe string, args ...string) *hostProcess {
	t.Helper()
	return startWith(t, nil, exe, args...)
}

// startWith is startCommand with additions to the environment.
func startWith(t *testing.T, env []string, exe string, args ...string) *hostProcess {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute) // only ends what hangs
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Env = append(os.Environ(), "BE_PYNOMALY_RUNTIME=1", "PYNOMALY_BACKENDS_ONNX_LIBRARY="+testkit.Library())
	cmd.Env = append(cmd.Env, env...)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &hostProcess{t: t, cmd: cmd, log: log, lines: bufio.NewScanner(log), drained: make(chan struct{})}
}

// next reads the log until a line has the text.
func (p *hostProcess) next(text string) {
	p.t.Helper()
	for p.lines.Scan() {
		p.seen = append(p.seen, p.lines.Text())
		if !json.Valid(p.lines.Bytes()) {
			p.t.Errorf("a log line is no JSON: %s", p.lines.Text())
		}
		if m := serving.FindStringSubmatch(p.lines.Text()); m != nil {
			p.address = m[1]
		}
		if strings.Contains(p.lines.Text(), text) {
			return
		}
	}
	p.t.Fatalf("the log ends without %q:\n%s", text, strings.Join(p.seen, "\n"))
}

// drain reads the rest of the log, because an unread pipe would block the process.
// It keeps only what tests may print.
func (p *hostProcess) drain() {
	defer close(p.drained)
	for p.lines.Scan() {
		const most = 2000
		if len(p.seen) < most {
			p.seen = append(p.seen, p.lines.Text())
		}
	}
}

// stop ends a process whose log is being drained.
func (p *hostProcess) stop() {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.drained
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("ended with %v:\n%s", err, strings.Join(p.seen[max(0, len(p.seen)-5):], "\n"))
	}
}

// end waits for the process, which must end in order.
func (p *hostProcess) end() {
	p.t.Helper()
	for p.lines.Scan() { // a pipe that nobody reads would hold it up
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("ended with %v", err)
	}
}

// startServe starts the command and returns its address when it is ready.
func startServe(t *testing.T, args ...string) (address string, stop func()) {
	t.Helper()
	return untilReady(t, startProcess(t, append([]string{"serve"}, args...)...))
}

// startReal is startServe for the real binary.
func startReal(t *testing.T, args ...string) (address string, stop func()) {
	t.Helper()
	env := []string{"PYNOMALY_BACKENDS_WASM_CACHE_DIR=" + testkit.WASMCache()}
	return untilReady(t, startWith(t, env, realBinary(t), append([]string{"serve"}, args...)...))
}

func untilReady(t *testing.T, p *hostProcess) (address string, stop func()) {
	t.Helper()
	p.next(`"message":"serving"`)
	testkit.Eventually(t, "ready", func() bool {
		resp, err := http.Get("http://" + p.address + "/ready")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return p.address, func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		p.end()
	}
}

func fetch(t *testing.T, url, method, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func writeBroken(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "broken.onnx"), []byte("no graph"), 0o600); err != nil {
		t.Fatal(err)
	}
}
