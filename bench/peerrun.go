package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pynomaly/pynomaly-runtime/bench/peers"
)

// startTimeout is how long a server has until its first answer.
const startTimeout = 2 * time.Minute

// peerServer is a server of the comparison that runs.
type peerServer struct {
	*process
	log   string
	ended chan struct{} // closed when the process has ended
}

// startPeer starts a server. Its processes inherit no input, and write to a log.
func startPeer(ctx context.Context, o peerOptions, p *peer) (*peerServer, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	if p.prepare != nil {
		if err := p.prepare(addr); err != nil {
			return nil, err
		}
	}
	name := filepath.Join(o.out, p.id+".log")
	log, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("making a log: %w", err)
	}
	defer log.Close()
	args := p.args(addr)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = p.dir, append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that an interrupt of ours reaches it through stop only
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting it: %w", err)
	}
	s := &peerServer{process: &process{cmd: cmd, addr: addr, tree: true}, log: name, ended: make(chan struct{})}
	go func() { defer close(s.ended); _ = cmd.Wait() }()
	return s, nil
}

// first sends a request until the server answers it, and checks the answer.
func (s *peerServer) first(ctx context.Context, k kind, reference []float64) error {
	var last error
	for until := time.Now().Add(startTimeout); time.Now().Before(until); {
		answer, err := s.ask(ctx, k.one, k.body(1))
		if err == nil {
			return k.check(answer, reference, 1)
		}
		last = err
		select {
		case <-s.ended:
			return fmt.Errorf("it ended at its start: %s", s.lastWords())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	return fmt.Errorf("no answer within %v of its start: %w", startTimeout, last)
}

// ask sends one request over a connection of its own.
func (s *peerServer) ask(ctx context.Context, path string, body []byte) ([]byte, error) {
	c, err := dialUntil(ctx, s.addr, time.Now().Add(answerTimeout))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.send(message(s.addr, path, "", body))
}

func (k kind) check(answer []byte, reference []float64, rows int) error {
	if k.decode == nil {
		return nil
	}
	return peers.Check(answer, k.decode, reference, rows)
}

// lastWords returns the last line of the server's log that is not empty.
func (s *peerServer) lastWords() string { return lastLine(s.log) }

func lastLine(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return all[len(all)-1]
}

// stop ends the server and all its processes.
func (s *peerServer) stop() error {
	before, err := descendants()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(5 * time.Second):
	}
	left, err2 := descendants()
	for _, d := range append(before, left...) {
		if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.pid)); err == nil {
			if now, err := parseStat(text); err == nil && now.start == d.start {
				_ = syscall.Kill(d.pid, syscall.SIGKILL)
			}
		}
	}
	<-s.ended
	return errors.Join(err, err2)
}
