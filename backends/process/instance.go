//go:build linux

package process

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/pluginlog"
	"github.com/pynomaly/pynomaly-runtime/sdk"
	"github.com/pynomaly/pynomaly-runtime/sdk/process"
	"github.com/pynomaly/pynomaly-runtime/sdk/process/pluginv1"
	"github.com/pynomaly/pynomaly-runtime/sdk/process/wire"
)

// instance is a process of the plugin.
type instance struct {
	program     *program
	proc        *proc
	client      plugin.ClientProtocol
	conn        *grpc.ClientConn
	api         pluginv1.ScorerClient
	said        *backends.Description
	concurrency int
	explains    bool
	learns      bool
	faults      atomic.Int64 // failed calls of Score since the last success

	watching sync.WaitGroup
	stop     context.CancelFunc // stops watching
	checked  context.Context    //nolint:containedctx // of check, which starts when the plugin serves

	busy   int  // calls; guarded by the pool
	alone  bool // its only call has exclusive use; guarded by the pool
	kept   bool // reserved for a call that needs exclusive use; guarded by the pool
	broken bool // must not be called any more; guarded by the pool
	meant  bool // its end is intended and not a failure; guarded by the pool
}

// Intervals and time limits of health checks and of ending.
const (
	healthEvery = 2 * time.Second
	healthWait  = 5 * time.Second
	endWait     = 2 * time.Second // for an orderly end
)

// connect starts a process of the program and asks it for its description.
func (p *program) connect(ctx context.Context) (_ *instance, err error) {
	cfg, pem, err := certificate()
	if err != nil {
		return nil, err
	}
	i := &instance{program: p}
	var starting atomic.Pointer[proc]
	log := pluginlog.New(p.backend.cfg.Log.With("model_id", p.model.ID, "version", p.model.Version), time.Now, parse)
	client := plugin.NewClient(clientConfig(log, cfg, p.dir, remaining(ctx, p.model.Limits.LoadTimeout), func(_ hclog.Logger, cmd *exec.Cmd, sockets string) (runner.Runner, error) {
		if u := p.backend.user; u.other {
			if err := os.Chown(sockets, u.uid, u.gid); err != nil {
				return nil, fmt.Errorf("giving the plugin its directory: %w", err)
			}
		}
		i.proc = &proc{
			name: p.model.ID, spec: p.spec(sockets, append(cmd.Env, "PLUGIN_CLIENT_CERT="+pem)), binary: p.binary,
			keeper: p.backend.keeper, log: log, sockets: sockets, ending: make(chan struct{}), done: make(chan struct{}), cgroups: p.backend.cgroups,
		}
		starting.Store(i.proc) // from here on the end of ctx ends the process
		if err := ctx.Err(); err != nil {
			i.proc = nil // it was not started, so it never ends
			return nil, err
		}
		return i.proc, nil
	}))
	defer func() {
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			err = p.late(ctx, "it did not start in time")
		}
		if i.proc == nil {
			return
		}
		err = i.abandon(ctx, err)
		client.Kill()
	}()
	stopKilling := context.AfterFunc(ctx, func() { // Client takes no context
		if started := starting.Load(); started != nil {
			started.kill(ctx.Err())
		}
	})
	defer stopKilling()
	if err := i.dial(client); err != nil {
		return nil, err
	}
	i.proc.memory.Store(resident(i.proc.pid))
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	i.stop = stop
	if err := i.describe(ctx); err != nil {
		return nil, err
	}
	// The host is the only client, and no socket remains if all processes die at
	// once.
	left, _ := filepath.Glob(filepath.Join(i.proc.sockets, "plugin*"))
	for _, path := range left {
		_ = os.Remove(path) // removing the directory would remove it, too
	}
	i.checked = watch
	return i, nil
}

// late returns the error about a start that took too long, with the limit that ended it.
func (p *program) late(ctx context.Context, what string) error {
	cause := cmp.Or(ctx.Err(), context.DeadlineExceeded)
	if !errors.Is(cause, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", what, cause)
	}
	own := backends.Ownf("%s: limits.load_timeout is %v; raise it in model.yaml (the host's limits.max.load_timeout bounds it)", what, p.model.Limits.LoadTimeout)
	return fmt.Errorf("%w: %w", own, cause)
}

// dial starts the process and connects to it.
func (i *instance) dial(client *plugin.Client) (err error) {
	if i.client, err = client.Client(); err != nil {
		return fmt.Errorf("starting the plugin: %w", err)
	}
	conn, err := i.client.Dispense(process.Name)
	if err != nil {
		return fmt.Errorf("connecting to the plugin: %w", err)
	}
	i.conn = conn.(*grpc.ClientConn) // dispensed returns no other type
	i.api = pluginv1.NewScorerClient(i.conn)
	return nil
}

// clientConfig configures go-plugin for a plugin whose process run starts.
func clientConfig(log io.Writer, tls *tls.Config, dir string, timeout time.Duration, run func(hclog.Logger, *exec.Cmd, string) (runner.Runner, error)) *plugin.ClientConfig {
	return &plugin.ClientConfig{
		HandshakeConfig:  process.Handshake(),
		VersionedPlugins: map[int]plugin.PluginSet{process.ProtocolVersion: {process.Name: dispensed{}}},
		RunnerFunc:       run,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		SkipHostEnv:      true,
		StartTimeout:     timeout,
		TLSConfig:        tls, // go-plugin's AutoMTLS does the same
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: dir},
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Off}),
		SyncStdout:       log,
		SyncStderr:       log,
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithIdleTimeout(0), // the socket is removed once the connection exists
			grpc.WithInitialWindowSize(wire.Window), grpc.WithInitialConnWindowSize(wire.Window),
			grpc.WithReadBufferSize(wire.Buffer), grpc.WithWriteBufferSize(wire.Buffer),
			grpc.WithChainStreamInterceptor(withoutBroker),
			grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MaxMessage), grpc.MaxCallSendMsgSize(wire.MaxMessage)),
		},
	}
}

// abandon ends a process that failed to start because of err. It adds what else is
// known to the error: a process that closed its connection is about to report why.
// The time of the start is that of ctx.
func (i *instance) abandon(ctx context.Context, err error) error {
	if brokeOff(err) {
		i.proc.settled(ctx)
	} else {
		select {
		case <-i.proc.done:
		case <-time.After(settleTime):
		}
	}
	i.proc.kill(err)
	i.end()
	var noticed string // how the start noticed the end, in the words of go-plugin
	if cause := i.proc.ended(); cause != nil && !errors.Is(err, cause) {
		err, noticed = cause, " ("+pluginlog.Text([]byte(err.Error()))+")"
		if errors.Is(cause, errNoHandshake) {
			err, noticed = fmt.Errorf("%w%s", cause, noticed), ""
		}
	}
	if tail := i.proc.log.TailBeside(err.Error()); tail != "" {
		err = fmt.Errorf("%w; it printed: %s", err, tail)
	}
	return fmt.Errorf("%w%s", err, noticed)
}

func remaining(ctx context.Context, otherwise time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(time.Millisecond, time.Until(deadline))
	}
	return otherwise
}

// dispensed returns go-plugin's connection.
type dispensed struct{ plugin.NetRPCUnsupportedPlugin }

func (dispensed) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error { return errors.ErrUnsupported }

func (dispensed) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// withoutBroker disables go-plugin's broker, which is not needed here and would keep
// whatever a plugin sends.
func withoutBroker(ctx context.Context, d *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if method == "/plugin.GRPCBroker/StartStream" {
		return nil, status.Error(codes.Unimplemented, "the broker is not used")
	}
	return open(ctx, d, conn, method, opts...)
}

// describe asks the plugin for its description.
func (i *instance) describe(ctx context.Context) error {
	d, err := i.api.Describe(ctx, &pluginv1.DescribeRequest{}, grpc.MaxCallRecvMsgSize(smallAnswer))
	if err != nil {
		return fmt.Errorf("asking the plugin for its description: %w", err)
	}
	i.said = &backends.Description{
		Name: d.GetName(), Version: d.GetVersion(), Algorithm: d.GetAlgorithm(), Features: d.GetFeatures(),
		Orientation: d.GetOrientation(), Threshold: d.Threshold, Stateful: d.GetStateful(),
	}
	if d.GetDtype() != "" {
		if i.said.DType, err = sdk.ParseDType(d.GetDtype()); err != nil || !i.said.DType.Numeric() {
			return fmt.Errorf("its dtype is %.40q, not float32, float64, int64 or empty", d.GetDtype())
		}
	}
	const most = 256
	i.concurrency = int(min(most, max(1, d.GetConcurrency())))
	i.explains, i.learns = d.GetExplains(), d.GetLearns()
	return i.said.Check()
}

// configure prepares the plugin for rows of the given features.
func (i *instance) configure(ctx context.Context, features []sdk.Feature) error {
	config, err := configJSON(i.program.model)
	if err != nil {
		return err
	}
	in := &pluginv1.ConfigureRequest{ConfigJson: config, ModelDir: i.program.modelDir(), Files: i.program.files}
	for _, f := range features {
		in.Features = append(in.Features, &pluginv1.Feature{Name: f.Name, Dtype: f.DType.String()})
	}
	if _, err := i.api.Configure(ctx, in, grpc.MaxCallRecvMsgSize(smallAnswer)); err != nil {
		if ctx.Err() != nil || overdue(ctx, err) {
			return i.program.late(ctx, "it was not configured in time")
		}
		if brokeOff(err) {
			i.proc.settled(ctx)
		}
		if cause := i.proc.ended(); cause != nil {
			return cause
		}
		return fmt.Errorf("configuring the plugin: %s", message(err))
	}
	return nil
}

// brokeOff reports whether a call failed because its connection did, as happens when
// the process ends.
func brokeOff(err error) bool { return status.Code(err) == codes.Unavailable }

// serves starts the health checks. Before that, while the plugin is configured and
// may need all its threads, load_timeout is the only limit.
func (i *instance) serves() { i.watching.Go(func() { i.check(i.checked) }) }

// check asks the process for its health until it ends.
func (i *instance) check(ctx context.Context) {
	t := time.NewTicker(healthEvery)
	defer t.Stop()
	health := grpc_health_v1.NewHealthClient(i.conn)
	for {
		select {
		case <-t.C:
		case <-i.proc.done:
			return
		case <-ctx.Done():
			return
		}
		// A call may block a plugin that runs one thread at a time, such as
		// Python's.
		limited, cancel := context.WithTimeout(ctx, max(healthWait, i.program.model.Limits.Timeout+healthEvery))
		answer, err := health.Check(limited, &grpc_health_v1.HealthCheckRequest{Service: plugin.GRPCServiceName})
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			i.proc.kill(fmt.Errorf("it was ended: it did not answer a health check: %s", message(err)))
			return
		case answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING:
			i.proc.kill(fmt.Errorf("it was ended: its health is %v", answer.GetStatus()))
			return
		}
	}
}

// close asks the process to end, and kills it if it does not.
func (i *instance) close() {
	select {
	case <-i.proc.done:
	default:
		ctx, cancel := context.WithTimeout(context.Background(), endWait)
		// go-plugin's own call of this method has no deadline.
		_ = i.conn.Invoke(ctx, "/plugin.GRPCController/Shutdown", &emptypb.Empty{}, &emptypb.Empty{})
		select {
		case <-i.proc.done:
		case <-ctx.Done():
		}
		cancel()
		i.proc.kill(errors.New("it was ended: it did not exit when asked to"))
	}
	i.end()
}

// end frees the resources of a process that has ended or is about to.
func (i *instance) end() {
	<-i.proc.done
	if i.stop != nil {
		i.stop()
	}
	i.watching.Wait()
	if i.client != nil {
		_ = i.client.Close() // the other side is gone
	}
	_ = removeAll(i.proc.sockets) // closing the program would remove it, too
}
