package config

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	y "github.com/pynomaly/pynomaly-runtime/internal/strictyaml"
)

// Traces configures which requests are traced, and the collector that gets the spans.
type Traces struct {
	Endpoint string // URL of an OTLP receiver; empty: nothing is recorded
	Protocol string
	Ratio    float64 // share of requests without a trace that are recorded, 0 to 1
	CA       string  // file of the CAs of an https endpoint; empty: the system's
	Headers  string  // sent with every export: name=value,name=value; a secret
}

// The protocols of traces.
const (
	TracesGRPC = "grpc"
	TracesHTTP = "http/protobuf"
)

func (t *Traces) fields() y.Fields {
	return y.Fields{
		"endpoint": y.String(&t.Endpoint), "protocol": y.String(&t.Protocol), "ratio": y.Float(&t.Ratio), "ca": y.String(&t.CA), "headers": y.String(&t.Headers),
	}
}

func (t *Traces) check(problem func(path, format string, args ...any)) {
	if t.Endpoint != "" {
		if u, err := url.Parse(t.Endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
			problem("traces.endpoint", "must be a URL such as http://collector:4317, without a password")
		}
	}
	if t.Protocol != TracesGRPC && t.Protocol != TracesHTTP {
		problem("traces.protocol", "is %q; must be %s or %s", t.Protocol, TracesGRPC, TracesHTTP)
	}
	if !(t.Ratio >= 0 && t.Ratio <= 1) { // also NaN
		problem("traces.ratio", "is %v; must be 0 to 1", t.Ratio)
	}
	if _, err := ParseHeaders(t.Headers); err != nil {
		problem("traces.headers", "%v", err)
	}
}

// ParseHeaders reads headers as OpenTelemetry writes them: name=value, separated by
// commas, with values in percent-encoding. Errors do not show the values.
func ParseHeaders(text string) (map[string]string, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	out := map[string]string{}
	n := 0
	for part := range strings.SplitSeq(text, ",") {
		n++
		name, value, ok := strings.Cut(part, "=")
		name = strings.TrimSpace(name)
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || err != nil || !isToken(name) || strings.ContainsAny(value, "\r\n\x00") {
			return nil, fmt.Errorf("entry %d is not name=value", n)
		}
		out[strings.ToLower(name)] = value
	}
	return out, nil
}

// isToken reports whether a text may be the name of a header.
func isToken(name string) bool {
	for _, c := range name {
		if c <= ' ' || c >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c) {
			return false
		}
	}
	return name != ""
}

// traceSettings returns the settings of traces. OpenTelemetry's own environment
// variables count, too.
func traceSettings() []setting {
	return []setting{
		{key: "traces.endpoint", flag: "trace-endpoint", older: "OTEL_EXPORTER_OTLP_ENDPOINT", help: "URL of the OTLP receiver that gets traces, such as http://collector:4317; empty: none are made", value: text(func(c *Config) *string { return &c.Traces.Endpoint })},
		{key: "traces.protocol", flag: "trace-protocol", older: "OTEL_EXPORTER_OTLP_PROTOCOL", help: "grpc or http/protobuf", value: text(func(c *Config) *string { return &c.Traces.Protocol })},
		{key: "traces.ratio", flag: "trace-ratio", older: "OTEL_TRACES_SAMPLER_ARG", help: "share of requests to trace, 0 to 1; a caller's trace decides for its requests", value: scalar("float", func(c *Config) *float64 { return &c.Traces.Ratio }, readFloat, showFloat)},
		{key: "traces.ca", flag: "trace-ca", older: "OTEL_EXPORTER_OTLP_CERTIFICATE", help: "file of the CAs that verify an https receiver; empty: the system's", value: text(func(c *Config) *string { return &c.Traces.CA })},
		{key: "traces.headers", older: "OTEL_EXPORTER_OTLP_HEADERS", value: text(func(c *Config) *string { return &c.Traces.Headers })}, // no flag: everybody sees a process's arguments
	}
}

func readFloat(v string) (float64, error) { return strconv.ParseFloat(v, 64) }

func showFloat(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
