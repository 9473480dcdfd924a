package config_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
)

// TestHeaders checks the headers of traces, and that errors show no values.
func TestHeaders(t *testing.T) {
	for _, c := range []struct {
		text string
		want map[string]string // nil and text not empty: refused
	}{
		{"", map[string]string{}},
		{"authorization=Bearer%20abc", map[string]string{"authorization": "Bearer abc"}},
		{" A = 1 , b=2==", map[string]string{"a": "1", "b": "2=="}},
		{"empty=", map[string]string{"empty": ""}},
		{"secret", nil}, {"a=1,secret", nil}, {"=secret", nil}, {"a b=secret", nil}, {"a=secret%0d%0ab: c", nil}, {"a=secret%zz", nil}, {"a=1,", nil},
	} {
		got, err := config.ParseHeaders(c.text)
		switch {
		case c.want == nil:
			if err == nil || strings.Contains(err.Error(), "secret") {
				t.Errorf("%q: %v, %v", c.text, got, err)
			}
		case err != nil || !maps.Equal(got, c.want):
			t.Errorf("%q: %v, %v", c.text, got, err)
		}
	}
}

// FuzzHeaders checks that headers cannot hold what ends one.
func FuzzHeaders(f *testing.F) {
	f.Add("a=1,b=%20")
	f.Add("=,%")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := config.ParseHeaders(text)
		if err != nil {
			return
		}
		for name, value := range got {
			if name == "" || strings.ContainsAny(name, ": \r\n") || strings.ContainsAny(value, "\r\n\x00") {
				t.Errorf("%q: %q: %q", text, name, value)
			}
		}
	})
}

// TestTraces checks the settings of traces, and that OpenTelemetry's variables count
// below the host's own.
func TestTraces(t *testing.T) {
	for text, want := range map[string]string{
		"endpoint: collector:4317": "traces.endpoint", "endpoint: 'ftp://x'": "traces.endpoint", "endpoint: 'http://user:secret@x'": "traces.endpoint",
		"protocol: http/json": "traces.protocol", "ratio: 1.5": "traces.ratio", "ratio: -1": "traces.ratio", "headers: secret": "traces.headers",
	} {
		if _, err := config.Decode([]byte("traces: {" + text + "}\n")); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", text, err)
		}
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://theirs:4318")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=secret")
	t.Setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
	c, err := config.Load("", flags(t))
	if err != nil {
		t.Fatal(err)
	}
	if want := (config.Traces{Endpoint: "http://theirs:4318", Protocol: config.TracesHTTP, Ratio: 0.25, Headers: "authorization=secret"}); c.Traces != want {
		t.Errorf("%+v", c.Traces)
	}
	if shown := c.Show()["traces.headers"]; shown != "***" {
		t.Errorf("/config shows %v", shown)
	}
	t.Setenv("PYNOMALY_TRACES_ENDPOINT", "https://ours")
	if c, err = config.Load("", flags(t, "--trace-ratio", "0.5")); err != nil || c.Traces.Endpoint != "https://ours" || c.Traces.Ratio != 0.5 {
		t.Errorf("%+v, %v", c.Traces, err)
	}
}
