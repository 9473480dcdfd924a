//go:build linux

package process

import (
	"context"
	"errors"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/pynomaly/pynomaly-runtime/internal/trace"
	"github.com/pynomaly/pynomaly-runtime/sdk"
	"github.com/pynomaly/pynomaly-runtime/sdk/process/pluginv1"
)

// traced returns the context of a call that a plugin answers, which tells the plugin
// where in its trace the call is, and a function that ends the call's span.
func traced(ctx context.Context, i *instance, method string) (context.Context, func(error)) {
	work := trace.Of(ctx)
	if work == nil {
		return ctx, func(error) {}
	}
	service := pluginv1.Scorer_ServiceDesc.ServiceName
	span := work.Call(service + "/" + method)
	span.Set(trace.Text("rpc.system", "grpc"), trace.Text("rpc.service", service), trace.Text("rpc.method", method),
		trace.Text("pynomaly.model.id", i.program.model.ID), trace.Text("pynomaly.model.version", i.program.model.Version), trace.Number("pynomaly.plugin.pid", i.proc.pid))
	at := span.Or(work)
	ctx = metadata.AppendToOutgoingContext(ctx, trace.Parent, at.Traceparent())
	if state := at.Tracestate(); state != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, trace.State, state)
	}
	return ctx, func(err error) {
		var rows *sdk.RowErrors
		if err != nil && !errors.As(err, &rows) {
			span.Set(trace.Number("rpc.grpc.status_code", int(status.Code(err))))
			span.Fail("the call failed: " + status.Code(err).String())
		}
		span.End()
	}
}
