// Command collector is the OpenTelemetry collector's OTLP receiver, for tests: it
// prints the spans that it receives, one JSON object of OTLP per line.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
)

func main() {
	grpc := flag.String("grpc", "127.0.0.1:4317", "address for OTLP over gRPC")
	http := flag.String("http", "127.0.0.1:4318", "address for OTLP over HTTP")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *grpc, *http); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, grpc, http string) error {
	factory := otlpreceiver.NewFactory()
	cfg := factory.CreateDefaultConfig()
	given := confmap.NewFromStringMap(map[string]any{"protocols": map[string]any{
		"grpc": map[string]any{"endpoint": grpc}, "http": map[string]any{"endpoint": http},
	}})
	if err := given.Unmarshal(cfg); err != nil {
		return fmt.Errorf("configuring the receiver: %w", err)
	}
	var encode ptrace.JSONMarshaler
	print, err := consumer.NewTraces(func(_ context.Context, spans ptrace.Traces) error {
		line, err := encode.MarshalTraces(spans)
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(append(line, '\n'))
		return err
	})
	if err != nil {
		return fmt.Errorf("making a consumer: %w", err)
	}
	r, err := factory.CreateTraces(ctx, receivertest.NewNopSettings(component.MustNewType("otlp")), cfg, print)
	if err != nil {
		return fmt.Errorf("making the receiver: %w", err)
	}
	if err := r.Start(ctx, componenttest.NewNopHost()); err != nil {
		return fmt.Errorf("starting the receiver: %w", err)
	}
	fmt.Fprintln(os.Stderr, "receiving")
	<-ctx.Done()
	return r.Shutdown(context.WithoutCancel(ctx))
}
