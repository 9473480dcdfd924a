package main

import (
	"context"
	"errors"
	"io"
	"math"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/pynomaly/pynomaly-runtime/sdk/process"
	"github.com/pynomaly/pynomaly-runtime/sdk/process/pluginv1"
	"github.com/pynomaly/pynomaly-runtime/sdk/process/wire"
)

// raw serves the protocol without the SDK, because the SDK cannot give wrong
// responses.
type raw struct {
	plugin.NetRPCUnsupportedPlugin
	pluginv1.UnimplementedScorerServer
	fault string
}

func serveRaw(fault string) {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  process.Handshake(),
		VersionedPlugins: map[int]plugin.PluginSet{process.ProtocolVersion: {process.Name: &raw{fault: fault}}},
		GRPCServer:       plugin.DefaultGRPCServer,
	})
}

// GRPCServer implements plugin.GRPCPlugin.
func (r *raw) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error { //nolint:unparam // the interface requires it
	pluginv1.RegisterScorerServer(s, r)
	return nil
}

// GRPCClient implements plugin.GRPCPlugin.
func (*raw) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.ErrUnsupported
}

// Describe implements the protocol.
func (r *raw) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	d := &pluginv1.DescribeResponse{Name: "raw", Dtype: "float64", Concurrency: 1}
	switch r.fault {
	case "bad-dtype":
		d.Dtype = "complex128"
	case "bad-orientation":
		d.Orientation = "upside_down"
	case "many-features":
		d.Features = make([]string, 1<<20)
	case "greedy":
		d.Concurrency = math.MaxUint32
	}
	return d, nil
}

// Configure implements the protocol.
func (*raw) Configure(context.Context, *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	return &pluginv1.ConfigureResponse{}, nil
}

// Score does not return one score per row.
func (r *raw) Score(stream grpc.ClientStreamingServer[pluginv1.ScoreChunk, pluginv1.ScoreResult]) error {
	rows := 0
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		rows += int(chunk.GetRows())
	}
	out := &pluginv1.ScoreResult{Scores: wire.AppendFloat64s(nil, make([]float64, rows))}
	switch r.fault {
	case "short-reply":
		out.Scores = out.Scores[:len(out.Scores)/2]
	case "bad-rows":
		out.Errors = []*pluginv1.RowError{{Row: uint32(rows), Reason: "x"}}
	case "huge-reply":
		out.Scores = make([]byte, 200<<20)
	}
	return stream.SendAndClose(out)
}
