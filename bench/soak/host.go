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
	"strconv"
	"strings"
	"syscall"
	"time"
)

// host is the server under test.
type host struct {
	cmd  *exec.Cmd
	addr string
	done bool
}

func startHost(ctx context.Context, o options, models, state string) (*host, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("finding a free port: %w", err)
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		return nil, fmt.Errorf("finding a free port: %w", err)
	}
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.CommandContext(ctx, o.binary, "serve", "--port", port, "--models", models, "--state-dir", state, "--drain", "0s", "--rescan", "1s", "--log-level", "warn")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the host: %w", err)
	}
	h := &host{cmd: cmd, addr: addr}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if resp, err := http.Get("http://" + addr + "/ready"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return h, nil
			}
		}
	}
	h.kill()
	return nil, errors.New("the host did not become ready in a minute")
}

// stop asks the host to stop. Its exit code must be 0.
func (h *host) stop() error {
	h.done = true
	_ = h.cmd.Process.Signal(syscall.SIGTERM)
	if err := h.cmd.Wait(); err != nil {
		return fmt.Errorf("the host ended with: %w", err)
	}
	return nil
}

func (h *host) kill() {
	if !h.done {
		h.done = true
		_ = h.cmd.Process.Kill()
		_ = h.cmd.Wait()
	}
}

// state is what the host holds.
type state struct{ goroutines, files, heap, resident, leases, sockets float64 }

func (s state) String() string {
	return fmt.Sprintf("%.0f goroutines, %.0f open files, %.0f leases, %.0f WebSockets, heap %.1f MiB, resident %.1f MiB",
		s.goroutines, s.files, s.leases, s.sockets, s.heap/mib, s.resident/mib)
}

func (h *host) state(ctx context.Context) (state, error) {
	var s state
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h.addr+"/metrics", nil)
	if err != nil {
		return s, fmt.Errorf("reading metrics: %w", err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, fmt.Errorf("reading metrics: %w", err)
	}
	defer resp.Body.Close()
	want := map[string]*float64{
		"go_goroutines": &s.goroutines, "process_open_fds": &s.files, "go_memstats_heap_inuse_bytes": &s.heap,
		"process_resident_memory_bytes": &s.resident, "model_leases": &s.leases, "model_websocket_connections": &s.sockets,
	}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if to, ok := want[name]; ok {
			if *to, err = strconv.ParseFloat(value, 64); err != nil {
				return s, fmt.Errorf("reading metrics: %w", err)
			}
			delete(want, name)
		}
	}
	if len(want) > 0 {
		return s, fmt.Errorf("metrics are missing: %v", want)
	}
	return s, nil
}

// settled waits until the host stops releasing resources: closed connections take a
// moment to go.
func (h *host) settled(ctx context.Context) (state, error) {
	var last state
	same := 0
	for range 150 {
		time.Sleep(200 * time.Millisecond)
		s, err := h.state(ctx)
		if err != nil {
			return s, err
		}
		if s.goroutines >= last.goroutines && s.files >= last.files && s.leases == 0 && s.sockets == 0 {
			same++
		} else {
			same = 0
		}
		last = s
		if same == 10 {
			break
		}
	}
	return last, nil
}
