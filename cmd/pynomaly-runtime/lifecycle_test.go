package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/crash"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

const pimaBody = `{"model_id": "pima-lof", "data": [8, 155, 62, 26, 495, 34, 0.543, 46]}`

// startHost starts the command as users have it. It serves two sample models on a
// free port, with its own temporary directory.
func startHost(t *testing.T, args ...string) (p *hostProcess, temp string) {
	t.Helper()
	dir, temp := t.TempDir(), t.TempDir()
	testkit.CopyModel(t, dir, "pima-lof", "pima-lof", "1.0.0", nil)
	testkit.CopyModel(t, dir, "ecod-c", "ecod-c", "1.0.0", nil)
	args = append([]string{"serve", "--models", dir, "--port", "0", "--state-dir", stateForTests(t)}, args...)
	return startWith(t, []string{"TMPDIR=" + temp}, realBinary(t), args...), temp
}

// wait waits for the end of the process, and returns how it ended.
func (p *hostProcess) wait() error {
	for p.lines.Scan() {
		p.seen = append(p.seen, p.lines.Text())
	}
	return p.cmd.Wait()
}

func signalTo(t *testing.T, p *hostProcess, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// isReady waits until the host's models are loaded.
func isReady(t *testing.T, p *hostProcess) {
	t.Helper()
	testkit.Eventually(t, "ready", func() bool {
		resp, err := http.Get("http://" + p.address + "/ready")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil && resp.StatusCode == http.StatusOK
	})
}

// TestLogIsLost checks that a host whose log can no longer be written serves and
// stops as before.
func TestLogIsLost(t *testing.T) {
	for name, lose := range map[string]func(log io.Closer){
		"its reader goes away": func(log io.Closer) { _ = log.Close() },
		"its reader sleeps":    func(io.Closer) {},
	} {
		t.Run(name, func(t *testing.T) {
			p, temp := startHost(t)
			p.next(`"message":"serving"`)
			isReady(t, p)
			lose(p.log)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for range 250 { // more than a pipe holds
						if text := fetch(t, "http://"+p.address+"/api/v1/predict", "POST", pimaBody); !strings.Contains(text, `"score"`) {
							t.Error(text)
							return
						}
					}
				})
			}
			wg.Wait()
			signalTo(t, p, syscall.SIGHUP) // logs, too
			answered(t, "http://"+p.address, pimaBody)
			http.DefaultClient.CloseIdleConnections()
			signalTo(t, p, syscall.SIGTERM)
			if state, err := p.cmd.Process.Wait(); err != nil || state.ExitCode() != 0 {
				t.Errorf("ended with %v, %v", state, err)
			}
			isEmpty(t, temp)
		})
	}
}

func isEmpty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestSignalsToStop checks that each signal stops a host in order.
func TestSignalsToStop(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT} {
		p, temp := startHost(t)
		p.next(`"message":"serving"`)
		signalTo(t, p, s)
		p.next(`"message":"stopping"`)
		p.next(`"message":"stopped"`)
		p.end()
		isEmpty(t, temp)
	}
}

// TestSecondSignal checks that a second signal ends the host, whatever the first one
// waits for.
func TestSecondSignal(t *testing.T) {
	p, _ := startHost(t, "--drain", "1h")
	p.next(`"message":"serving"`)
	signalTo(t, p, syscall.SIGTERM)
	p.next(`"message":"stopping"`)
	signalTo(t, p, syscall.SIGINT)
	var exit *exec.ExitError
	if err := p.wait(); !errors.As(err, &exit) || exit.ExitCode() != 128+int(syscall.SIGINT) {
		t.Errorf("ended with %v", err)
	}
}

// TestStacks checks that SIGQUIT shows what a stop waits for.
func TestStacks(t *testing.T) {
	p, _ := startHost(t, "--drain", "1h")
	p.next(`"message":"serving"`)
	signalTo(t, p, syscall.SIGTERM)
	p.next(`"message":"stopping"`)
	signalTo(t, p, syscall.SIGQUIT)
	stacks := 0
	for p.lines.Scan() {
		if strings.HasPrefix(p.lines.Text(), "goroutine ") {
			stacks++
		}
	}
	var exit *exec.ExitError
	if err := p.cmd.Wait(); stacks < 2 || !errors.As(err, &exit) || exit.ExitCode() != 128+int(syscall.SIGQUIT) {
		t.Errorf("%d stacks, ended with %v", stacks, err)
	}
}

// TestInterruptedCommand checks that a command that waits for input ends on a
// signal, and leaves nothing behind.
func TestInterruptedCommand(t *testing.T) {
	dir := t.TempDir()
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer feed.Close()
	cmd := exec.CommandContext(t.Context(), realBinary(t), "predict", "pima-lof", "-", "--format", "csv", "-o", filepath.Join(dir, "out.csv"),
		"--models", testkit.Testdata("models"), "--onnxruntime", testkit.Library(), "--state-dir", stateForTests(t))
	cmd.Stdin = in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the output is begun", func() bool {
		begun, err := filepath.Glob(filepath.Join(dir, ".out.csv-*"))
		return err == nil && len(begun) == 1
	})
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 128+int(syscall.SIGINT) {
		t.Errorf("ended with %v", err)
	}
	isEmpty(t, dir)
}

// TestStopWhileStarting sends a signal at once, and after each of the first log
// lines, while models are checked and loaded. The host must end and leave nothing
// behind.
func TestStopWhileStarting(t *testing.T) {
	for n := range 5 {
		p, temp := startHost(t, "--log-level", "debug", "--state-dir", t.TempDir())
		for range n {
			p.next("")
		}
		signalTo(t, p, syscall.SIGTERM)
		err := p.wait()
		if n == 0 && p.cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled() {
			err = nil // it has not begun
		}
		if err != nil {
			t.Errorf("after %d lines: ended with %v:\n%s", n, err, strings.Join(p.seen, "\n"))
		}
		isEmpty(t, temp)
	}
}

// TestSignalsToGoOn checks that a host survives other signals, and reads its
// configuration again after SIGHUP without --reload.
func TestSignalsToGoOn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plugins.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("log: {level: info}\n")
	p, _ := startHost(t, "--config", file)
	p.next(`"message":"serving"`)
	isReady(t, p)
	write("models: {aliases: {pima-lof: {names: {stable: 1.0.0}}}}\n")
	signalTo(t, p, syscall.SIGHUP)
	p.next(`"message":"configuration reloaded"`)
	answered(t, "http://"+p.address, strings.Replace(pimaBody, `"data"`, `"version": "stable", "data"`, 1))
	write("nonsense: 1\n")
	signalTo(t, p, syscall.SIGHUP)
	p.next("the changed configuration was not applied")
	for _, s := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2} {
		signalTo(t, p, s)
		p.next("ignored a signal without a function")
	}
	signalTo(t, p, syscall.SIGPIPE)
	answered(t, "http://"+p.address, pimaBody)
	http.DefaultClient.CloseIdleConnections()
	signalTo(t, p, syscall.SIGTERM)
	p.end()
}

// TestCrashIsKept checks that the text of a crash is on standard error and in the
// state directory, and that the next host reports it once.
func TestCrashIsKept(t *testing.T) {
	state := t.TempDir()
	p, _ := startHost(t, "--state-dir", state)
	p.next(`"message":"serving"`)
	signalTo(t, p, syscall.SIGABRT) // the Go runtime ends as after a panic
	if err := p.wait(); err == nil || !strings.Contains(strings.Join(p.seen, "\n"), "goroutine ") {
		t.Fatalf("%v:\n%s", err, strings.Join(p.seen, "\n"))
	}
	p, _ = startHost(t, "--state-dir", state)
	p.next("a host with this state directory has crashed")
	if line := p.seen[len(p.seen)-1]; !strings.Contains(line, "SIGABRT: abort") || !strings.Contains(line, crash.Last) {
		t.Error(line)
	}
	p.next(`"message":"serving"`)
	if err := p.cmd.Process.Kill(); err != nil { // says nothing, leaves an empty file
		t.Fatal(err)
	}
	_ = p.wait()
	p, _ = startHost(t, "--state-dir", state)
	p.next(`"message":"serving"`)
	signalTo(t, p, syscall.SIGTERM)
	p.end()
	if strings.Contains(strings.Join(p.seen, "\n"), "crashed") {
		t.Error("the crash is told again")
	}
	files, err := filepath.Glob(filepath.Join(state, "*crash*"))
	if err != nil || len(files) != 1 || filepath.Base(files[0]) != crash.Last {
		t.Errorf("left: %v, %v", files, err)
	}
	if text, err := os.ReadFile(files[0]); err != nil || !strings.Contains(string(text), "goroutine ") {
		t.Errorf("%v: %s", err, text)
	}
}
