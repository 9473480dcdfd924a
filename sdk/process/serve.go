package process

import (
	"context"
	"fmt"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/pynomaly/pynomaly-runtime/sdk/process/pluginv1"
	"github.com/pynomaly/pynomaly-runtime/sdk/process/wire"
)

// The host and the plugin must agree on these before they connect.
const (
	ProtocolVersion = 1
	CookieKey       = "PYNOMALY_PLUGIN"
	CookieValue     = "b0f6b1b7c5d34e0e9c1f7f3d5a2e8c4411d8a0e5f7c94b6fa1c3e2d4b5a69788"
	// Name is the plugin's name in go-plugin's PluginSet.
	Name = "scorer"
	// ParentEnv names the variable with the host's process id. A plugin that
	// was started without it runs, but does not notice the host's end.
	ParentEnv = "PYNOMALY_PLUGIN_PARENT"
)

// Handshake returns these values in go-plugin's form.
func Handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{ProtocolVersion: ProtocolVersion, MagicCookieKey: CookieKey, MagicCookieValue: CookieValue}
}

// Serve serves a detector until the host ends it. Call it as the last statement
// of main. The host logs what the plugin writes to standard error and to standard
// output; Serve moves the protocol's line out of the way of C libraries that print.
func Serve(d Detector) {
	if os.Getenv(CookieKey) == CookieValue {
		watchParent(os.Getenv(ParentEnv))
		if err := setAside(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	s := newServer(d)
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  Handshake(),
		VersionedPlugins: map[int]plugin.PluginSet{ProtocolVersion: {Name: &served{server: s}}},
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: os.Stderr, JSONFormat: true}),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts,
				grpc.MaxRecvMsgSize(wire.MaxMessage), grpc.MaxSendMsgSize(wire.MaxMessage),
				grpc.InitialWindowSize(wire.Window), grpc.InitialConnWindowSize(wire.Window),
				grpc.ReadBufferSize(wire.Buffer), grpc.WriteBufferSize(wire.Buffer),
				grpc.NumStreamWorkers(uint32(cap(s.slots))),
			)...)
		},
	})
	s.close()
}

// served registers the service with go-plugin.
type served struct {
	plugin.NetRPCUnsupportedPlugin
	server *server
}

// GRPCServer implements plugin.GRPCPlugin.
func (p *served) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	pluginv1.RegisterScorerServer(s, p.server)
	return nil
}

// GRPCClient implements plugin.GRPCPlugin.
func (*served) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

var _ plugin.GRPCPlugin = (*served)(nil)
