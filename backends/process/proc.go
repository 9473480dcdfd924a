//go:build linux

package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/pluginlog"
)

// proc is one process of a plugin with its supervisor. It implements go-plugin's
// runner, so that this package starts, ends and reads the process.
type proc struct {
	name    string
	spec    spec
	binary  *os.File // the program; nil: run spec.Path
	keeper  *keeper
	log     *pluginlog.Log
	sockets string // directory for its sockets
	cgroups *cgroups
	memory  atomic.Int64 // the last known number of bytes that it holds

	first *io.PipeReader // the line of its standard output that says where it listens
	mute  atomic.Bool    // its standard output ended without that line: it is ending
	pid   int

	ending chan struct{} // closed when it is known why it ends
	done   chan struct{} // closed when no process of it is left

	mu         sync.Mutex
	control    *net.UnixConn // to the supervisor; nil: not started yet, or over
	supervisor int           // its process id; 0: not known yet
	killed     bool
	patience   *time.Timer // runs once a supervisor was told to end; nil: it was not
	cause      error       // why the process was ended, or how it ended by itself
}

var _ runner.Runner = (*proc)(nil)

// Start implements runner.Runner.
func (p *proc) Start(context.Context) error {
	started := make(chan error, 1)
	go p.live(started)
	return <-started
}

// live starts the process and reads its output and its supervisor's reports until no
// process is left. It sends to started once.
func (p *proc) live(started chan<- error) {
	defer close(p.done)
	control, theirs, err := socketPair(unix.SOCK_STREAM)
	var out, said pipe
	if err = errors.Join(err, out.open(), said.open()); err == nil {
		files := []*os.File{theirs, out.w, said.w}
		if p.binary != nil {
			files = append(files, p.binary)
		}
		err = p.keeper.start(p.name, files...)
	}
	if err == nil {
		defer p.keeper.forget()
		err = p.take(control)
	}
	// The supervisor has its own descriptors now.
	for _, f := range []*os.File{theirs, out.w, said.w} {
		if f != nil {
			_ = f.Close()
		}
	}
	if err != nil {
		if control != nil {
			_ = control.Close()
		}
		_ = errors.Join(out.close(), said.close())
		started <- fmt.Errorf("starting the process: %w", err)
		return
	}
	p.follow(control, out.r, said.r, started)
}

// follow reads the supervisor's reports and the process's standard output and
// standard error until no process is left. It sends to started once.
func (p *proc) follow(control *net.UnixConn, out, said *os.File, started chan<- error) {
	line, w := io.Pipe()
	p.first = line
	var readers sync.WaitGroup
	readers.Go(func() { p.readOutput(out, w) })
	readers.Go(func() { _, _ = io.Copy(p.log, said) })
	p.attend(control, sync.OnceFunc(func() {
		err := p.ended()
		if err != nil {
			_ = line.Close() // nobody reads the output of a process that did not start
		}
		started <- err
	}))
	// Only processes that could not be killed still hold the other ends.
	soon := time.Now().Add(drainTime)
	_ = errors.Join(out.SetReadDeadline(soon), said.SetReadDeadline(soon))
	readers.Wait()
	_ = errors.Join(out.Close(), said.Close())
	p.log.Flush()
}

// drainTime limits reading what a process printed before it ended.
const drainTime = 5 * time.Second

// take stores the connection to the supervisor, unless the process was ended before
// it began.
func (p *proc) take(control *net.UnixConn) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		return p.cause
	}
	p.control = control
	return nil
}

// attend reads the supervisor's reports until no process is left. It calls begun
// when the process has started or failed to.
func (p *proc) attend(control *net.UnixConn, begun func()) {
	var limited *group
	err := reports(control, func(r report) bool {
		switch {
		case r.Self > 0:
			var err error
			if limited, err = p.instruct(control, r.Self); err != nil {
				p.kill(err)
			}
		case r.PID > 0:
			p.pid = r.PID
			if limited != nil {
				limited.release(p.supervisor)
			}
			begun()
		case r.Memory > 0:
			p.memory.Store(r.Memory)
		case r.Cause != "":
			cause := errors.New(r.Cause)
			if r.Bound {
				cause = &backends.OwnError{Err: cause}
			}
			p.because(cause)
		}
		return !r.Over
	})
	if limited != nil {
		limited.end()
	}
	p.settle(err)
	_ = control.Close() // the supervisor is gone or about to be
	begun()
}

// instruct tells a supervisor what to start. If there are cgroups, the supervisor is
// in the plugin's group while it starts the plugin.
func (p *proc) instruct(control *net.UnixConn, supervisor int) (limited *group, err error) {
	p.mu.Lock()
	p.supervisor = supervisor
	p.mu.Unlock()
	text, err := json.Marshal(p.spec)
	if err != nil {
		return nil, fmt.Errorf("writing what to start: %w", err)
	}
	if p.cgroups != nil {
		if limited, err = p.cgroups.make(supervisor, p.spec.Memory, p.spec.Processes); err != nil {
			return nil, err
		}
	}
	if _, err := control.Write(text); err != nil {
		return limited, fmt.Errorf("telling the supervisor what to start: %w", err)
	}
	return limited, nil
}

// because sets why the process ends, if that is not known yet.
func (p *proc) because(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.setCause(cause)
}

// setCause does the same. p is locked.
func (p *proc) setCause(cause error) {
	if p.cause == nil {
		p.cause = cause
		close(p.ending)
	}
}

// settle releases what belongs to the supervisor after its last report. err says why
// it could not report all.
func (p *proc) settle(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.control = nil
	if p.patience != nil {
		p.patience.Stop()
	}
	p.setCause(errors.Join(errors.New("its supervisor was killed"), err))
}

type pipe struct{ r, w *os.File }

func (p *pipe) open() (err error) {
	p.r, p.w, err = os.Pipe()
	return err
}

func (p *pipe) close() error {
	if p.r == nil {
		return nil
	}
	return errors.Join(p.r.Close(), p.w.Close())
}

// kill ends the process and its descendants because of cause.
func (p *proc) kill(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.setCause(cause)
	if p.killed {
		return
	}
	p.killed = true
	if p.control == nil {
		return
	}
	_ = p.control.CloseWrite() // the supervisor may be gone
	p.signal(syscall.SIGCONT)  // it may be stopped
	p.patience = time.AfterFunc(hopeless+tellTime, p.giveUp)
}

// giveUp kills a supervisor that does not end. The keeper ends what it leaves.
func (p *proc) giveUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.control == nil {
		return
	}
	p.signal(syscall.SIGKILL)
	_ = p.control.Close()
}

// signal sends a signal to the supervisor. While the connection is open, the
// supervisor exists and no other process has its id. p is locked.
func (p *proc) signal(s syscall.Signal) {
	if p.supervisor > 0 {
		_ = syscall.Kill(p.supervisor, s)
	}
}

// over reports whether no process is left.
func (p *proc) over() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// ended returns how the process ended or why it was ended.
func (p *proc) ended() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cause
}

// Diagnose implements runner.Runner.
func (*proc) Diagnose(context.Context) string { return "" }

// Stdout implements runner.Runner.
func (p *proc) Stdout() io.ReadCloser { return p.first }

// Stderr implements runner.Runner. It is empty, so that go-plugin parses nothing.
func (*proc) Stderr() io.ReadCloser { return io.NopCloser(eof{}) }

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// Name implements runner.Runner.
func (p *proc) Name() string { return p.name }

// Wait implements runner.Runner.
func (p *proc) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Kill implements runner.Runner. go-plugin calls it after a start failed. If the
// process is ending by itself, its own reason is more useful.
func (p *proc) Kill(context.Context) error {
	patience := settleTime
	if p.mute.Load() {
		patience = endTime
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		p.kill(errNoHandshake)
	}
	return nil
}

// settled waits for the reason why the process ends. The wait is limited: a plugin
// may close its connections and keep running.
func (p *proc) settled(ctx context.Context) {
	select {
	case <-p.ending:
	case <-ctx.Done():
	case <-time.After(endTime):
	}
}

const (
	// settleTime is how long a process that broke the protocol may take to end by
	// itself, which gives a better error.
	settleTime = time.Second
	// endTime is how long it may take on a busy machine to notice the end of a
	// process that closed its output or its connection.
	endTime = 10 * time.Second
)

var errNoHandshake = errors.New("it did not begin as a plugin does")

// ID implements runner.Runner. It returns "" after the end, so that go-plugin does
// not use the process any more.
func (p *proc) ID() string {
	if p.over() {
		return ""
	}
	return strconv.Itoa(p.pid)
}

// PluginToHost implements runner.Runner. It accepts only sockets in the plugin's own
// directory.
func (p *proc) PluginToHost(network, address string) (string, string, error) {
	info, err := os.Lstat(address)
	if network != "unix" || filepath.Dir(address) != p.sockets || err != nil || info.Mode().Type() != os.ModeSocket {
		return "", "", fmt.Errorf("it listens at %.20s %.200s, which is not a socket in %s", network, address, p.sockets)
	}
	return network, address, nil
}

// HostToPlugin implements runner.Runner.
func (*proc) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
