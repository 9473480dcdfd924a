package tracing

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"strings"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc/credentials"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
)

// httpPath is where OTLP over HTTP takes spans, below the endpoint.
const httpPath = "/v1/traces"

// newExporter returns an exporter for a checked configuration. It connects when there
// is something to send.
func newExporter(c *config.Traces) (sdk.SpanExporter, error) {
	endpoint, err := url.Parse(c.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("traces.endpoint: %w", err)
	}
	headers, err := config.ParseHeaders(c.Headers)
	if err != nil {
		return nil, fmt.Errorf("traces.headers: %w", err)
	}
	secure, err := secured(endpoint, c.CA)
	if err != nil {
		return nil, err
	}
	if c.Protocol == config.TracesHTTP {
		return overHTTP(endpoint, headers, secure)
	}
	return overGRPC(endpoint, headers, secure)
}

// secured returns the TLS configuration for an endpoint, or nil for a plain one.
func secured(endpoint *url.URL, ca string) (*tls.Config, error) {
	if endpoint.Scheme != "https" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca == "" {
		return c, nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("traces.ca: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("traces.ca: %s has no certificate", ca)
	}
	return c, nil
}

func overGRPC(endpoint *url.URL, headers map[string]string, secure *tls.Config) (sdk.SpanExporter, error) {
	options := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(withPort(endpoint, "4317")), otlptracegrpc.WithHeaders(headers), otlptracegrpc.WithTimeout(sendTimeout)}
	if secure == nil {
		options = append(options, otlptracegrpc.WithInsecure())
	} else {
		options = append(options, otlptracegrpc.WithTLSCredentials(credentials.NewTLS(secure)))
	}
	e, err := otlptracegrpc.New(context.Background(), options...)
	return made(e, err)
}

func overHTTP(endpoint *url.URL, headers map[string]string, secure *tls.Config) (sdk.SpanExporter, error) {
	path := strings.TrimSuffix(endpoint.Path, "/")
	if !strings.HasSuffix(path, httpPath) {
		path += httpPath
	}
	options := []otlptracehttp.Option{
		otlptracehttp.WithEndpoint(withPort(endpoint, "4318")), otlptracehttp.WithURLPath(path), otlptracehttp.WithHeaders(headers), otlptracehttp.WithTimeout(sendTimeout),
	}
	if secure == nil {
		options = append(options, otlptracehttp.WithInsecure())
	} else {
		options = append(options, otlptracehttp.WithTLSClientConfig(secure))
	}
	e, err := otlptracehttp.New(context.Background(), options...)
	return made(e, err)
}

// withPort returns the host and port of an endpoint.
func withPort(endpoint *url.URL, usual string) string {
	if endpoint.Port() != "" {
		return endpoint.Host
	}
	if endpoint.Scheme == "https" {
		usual = "443"
	}
	return strings.TrimSuffix(endpoint.Host, ":") + ":" + usual
}

func made(e *otlptrace.Exporter, err error) (sdk.SpanExporter, error) {
	if err != nil {
		return nil, fmt.Errorf("making an exporter of traces: %w", err)
	}
	return e, nil
}
