package process

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
	"golang.org/x/sys/unix"
)

// proc is one process of a plugin. It is go-plugin's runner, so that starting,
// ending and reading it are ours.
type proc struct {
	name    string
	exe     string // of the helper
	spec    spec
	binary  *os.File // what the process becomes; nil: spec.Path
	keeper  *keeper
	log     *pluginLog
	sockets string // where its sockets may lie
	cgroups *cgroups
	memory  int64 // for its group

	first *io.PipeReader // the first line of its standard output
	pid   int
	done  chan struct{} // closed when nothing of it is left

	mu     sync.Mutex
	reaped bool
	cause  error // why it was ended, or how it ended by itself
}

var _ runner.Runner = (*proc)(nil)

// Start implements runner.Runner.
func (p *proc) Start(context.Context) error {
	started := make(chan error, 1)
	go p.live(started)
	return <-started
}

// live starts the process and waits for it, on one thread: when that ends, the
// kernel ends the process.
func (p *proc) live(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.done)
	text, err := json.Marshal(p.spec)
	if err != nil {
		started <- fmt.Errorf("writing what to start: %w", err)
		return
	}
	var gate, out, said pipe
	if err := errors.Join(gate.open(), out.open(), said.open()); err != nil {
		started <- fmt.Errorf("making pipes: %w", errors.Join(err, gate.close(), out.close(), said.close()))
		return
	}
	cmd := exec.Command(p.exe, LimitsRole, p.name) //nolint:gosec,noctx // the host's binary, in a role that is a constant
	cmd.Env = []string{"GOTRACEBACK=none"}
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = out.w, said.w, []*os.File{gate.r}
	if p.binary != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, p.binary)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		started <- fmt.Errorf("starting the process: %w", errors.Join(err, gate.close(), out.close(), said.close()))
		return
	}
	_ = errors.Join(gate.r.Close(), out.w.Close(), said.w.Close()) // they are the child's now
	p.mu.Lock()
	p.pid = cmd.Process.Pid
	early := p.cause // it was ended before it began
	p.mu.Unlock()
	err = errors.Join(early, p.keeper.add(p.pid))
	var limited *group
	if err == nil && p.cgroups != nil {
		limited, err = p.cgroups.make(p.pid, p.memory)
	}
	if err == nil {
		_, err = gate.w.Write(text)
	}
	if err = errors.Join(err, gate.w.Close()); err != nil {
		p.kill(err)
	}
	line, w := io.Pipe()
	p.first = line
	var readers sync.WaitGroup
	readers.Go(func() { p.readOutput(out.r, w) })
	readers.Go(func() { _, _ = io.Copy(p.log, said.r) })
	started <- nil
	waitFor(p.pid)
	_ = syscall.Kill(-p.pid, syscall.SIGKILL) // what it started; its own number is not free yet
	_ = p.keeper.remove(p.pid)                // which only means that the keeper tries in vain
	if limited != nil {
		limited.end()
	}
	p.mu.Lock()
	p.reaped = true
	ended := cmd.Wait()
	if p.cause == nil {
		if ended == nil {
			ended = errors.New("exit status 0")
		}
		p.cause = fmt.Errorf("it ended by itself: %w", ended)
	}
	p.mu.Unlock()
	// What has left the group may hold the other ends.
	soon := time.Now().Add(drainTime)
	_ = errors.Join(out.r.SetReadDeadline(soon), said.r.SetReadDeadline(soon))
	readers.Wait()
	_ = errors.Join(out.r.Close(), said.r.Close())
	p.log.flush()
}

const drainTime = 200 * time.Millisecond

// waitFor returns when a child has ended, and leaves its number taken.
func waitFor(pid int) {
	for {
		if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil); !errors.Is(err, unix.EINTR) {
			return
		}
	}
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

// maxHandshake bounds the line that a plugin begins with.
const maxHandshake = 16 << 10

// readOutput hands the first line on. What comes after it is no part of the
// protocol: it is logged.
func (p *proc) readOutput(from io.Reader, first *io.PipeWriter) {
	in := bufio.NewReaderSize(from, maxHandshake)
	line, err := in.ReadSlice('\n')
	if len(line) > 0 {
		if errors.Is(err, bufio.ErrBufferFull) {
			line = append([]byte("a line without end: "), line[:80]...)
		}
		_, _ = first.Write(append([]byte(printable(line)), '\n'))
	}
	_ = first.Close()
	_, _ = io.Copy(p.log, in)
}

// kill ends the process and what it has started; cause is why.
func (p *proc) kill(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cause == nil {
		p.cause = cause
	}
	if !p.reaped && p.pid > 0 {
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
		_ = syscall.Kill(p.pid, syscall.SIGKILL) // before it has a group
	}
}

// over reports whether nothing of the process is left.
func (p *proc) over() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// ended says how the process ended, or was made to.
func (p *proc) ended() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cause
}

// Diagnose implements runner.Runner.
func (*proc) Diagnose(context.Context) string { return "" }

// Stdout implements runner.Runner.
func (p *proc) Stdout() io.ReadCloser { return p.first }

// Stderr implements runner.Runner: go-plugin is given nothing to parse.
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

// Kill implements runner.Runner: go-plugin has given up on a start. A process that
// is ending by itself has the better reason.
func (p *proc) Kill(context.Context) error {
	select {
	case <-p.done:
	case <-time.After(drainTime):
		p.kill(errNoHandshake)
	}
	return nil
}

var errNoHandshake = errors.New("it did not begin as a plugin does")

// ID implements runner.Runner: none when it has ended, so that go-plugin lets it
// rest.
func (p *proc) ID() string {
	if p.over() {
		return ""
	}
	return strconv.Itoa(p.pid)
}

// PluginToHost implements runner.Runner: a plugin is reached in its own directory
// and nowhere else.
func (p *proc) PluginToHost(network, address string) (string, string, error) {
	info, err := os.Lstat(address)
	if network != "unix" || filepath.Dir(address) != p.sockets || err != nil || info.Mode().Type() != os.ModeSocket {
		return "", "", fmt.Errorf("it listens at %.20s %.200s, which is no socket in %s", network, address, p.sockets)
	}
	return network, address, nil
}

// HostToPlugin implements runner.Runner.
func (*proc) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
