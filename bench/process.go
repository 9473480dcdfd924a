package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a server that was started for a measurement.
type process struct {
	cmd  *exec.Cmd
	addr string
	key  string // shown by callers; empty: none
	tree bool   // cpu counts all processes that this one has started
}

func freeAddress() (string, error) {
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	addr := ln.Addr().String()
	return addr, ln.Close()
}

// start starts a server and waits until ready responds.
func start(ctx context.Context, addr, ready, name string, args ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var log *os.File
	if to := os.Getenv("BENCH_LOG"); to != "" {
		var err error
		if log, err = os.OpenFile(to, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
			return nil, fmt.Errorf("opening the log: %w", err)
		}
		defer log.Close()
		cmd.Stderr = log
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p := &process{cmd: cmd, addr: addr}
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(30 * time.Second); ; {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+ready, nil)
		if err != nil {
			return nil, fmt.Errorf("asking %s: %w", ready, err)
		}
		answer, err := client.Do(req)
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return p, nil
			}
			err = fmt.Errorf("%s answers %s", ready, answer.Status)
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("%s is not ready: %w", name, err), p.stop())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// startHost starts the host with a models directory.
func startHost(ctx context.Context, o options, models, state string, more ...string) (*process, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	return start(ctx, addr, "/ready", o.binary, append(hostArgs(addr, models, state), more...)...)
}

func hostArgs(addr, models, state string) []string {
	host, port, _ := net.SplitHostPort(addr)
	return []string{"serve", "--host", host, "--port", port, "--models", models, "--state-dir", state, "--drain", "0s"}
}

// stop ends the process.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.cmd.Wait(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() > 0 {
			return fmt.Errorf("stopping: %w", err)
		}
	}
	return nil
}

// cpu returns the processor time of all threads of the process, as getrusage does,
// but in nanoseconds.
func (p *process) cpu() (time.Duration, error) {
	if p.tree {
		return treeCPU()
	}
	return cpuOf(p.cmd.Process.Pid)
}

func cpuOf(pid int) (time.Duration, error) {
	const scheduler = 2 // CPUCLOCK_SCHED, see clock_getcpuclockid(3)
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|scheduler, &t); err != nil {
		return 0, fmt.Errorf("reading the processor time: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// resident returns the resident memory in bytes.
func (p *process) resident() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("reading the memory use: %w", err)
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, fmt.Errorf("reading the memory use: %q", text)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading the memory use: %w", err)
	}
	return pages * int64(os.Getpagesize()), nil
}

// metric reads one sample of the process's /metrics.
func (p *process) metric(name string) (float64, error) {
	answer, err := http.Get("http://" + p.addr + "/metrics")
	if err != nil {
		return 0, fmt.Errorf("reading metrics: %w", err)
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(rest, 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}

// self starts this binary in one of its roles.
func self(ctx context.Context, role, ready string, args ...string) (*process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this binary: %w", err)
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	return start(ctx, addr, ready, exe, append([]string{role, addr}, args...)...)
}

// machine describes the machine of the measurements.
func machine() string {
	model := "unknown processor"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%s, %d processors, %s, %s", model, runtime.NumCPU(), runtime.Version(), time.Now().Format(time.DateOnly))
}

// copyModel copies a model's files to dir/id/version and changes the id.
func copyModel(from, dir, id string) error {
	to := filepath.Join(dir, id, "1.0.0")
	if err := os.MkdirAll(to, 0o755); err != nil {
		return fmt.Errorf("copying a model: %w", err)
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return fmt.Errorf("copying a model: %w", err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			return fmt.Errorf("copying a model: %w", err)
		}
		if e.Name() == "model.yaml" {
			lines := strings.Split(string(data), "\n")
			for i, line := range lines {
				if strings.HasPrefix(line, "id: ") {
					lines[i] = "id: " + id
				}
			}
			data = []byte(strings.Join(lines, "\n"))
		}
		if err := os.WriteFile(filepath.Join(to, e.Name()), data, 0o600); err != nil {
			return fmt.Errorf("copying a model: %w", err)
		}
	}
	return nil
}
