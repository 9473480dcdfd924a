package wasm_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/wasm"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hostile"
)

// withMemory returns a module that begins with so many pages of memory, at most 127.
func withMemory(pages byte) []byte {
	return bytes.Replace(hostile.Plain(), []byte{5, 3, 1, 0, 2}, []byte{5, 3, 1, 0, pages}, 1)
}

// TestLeastMemory checks that a module that begins with more memory than it may have is
// refused with each limit that is in its way, and that the compiled code stays.
func TestLeastMemory(t *testing.T) {
	var log bytes.Buffer
	for _, c := range []struct {
		limit string
		most  int64
		want  string
	}{
		{"1MiB", 64 << 20, "limits.memory is 1MiB: raise it in model.yaml (the host's limits.max.memory bounds it); or"},
		{"64MiB", 1 << 20, "backends.wasm.max_memory is 1MiB: raise it in the host's configuration; or"},
		{"1MiB", 1 << 20, "limits.memory is 1MiB: raise it in model.yaml (the host's limits.max.memory bounds it); the host's backends.wasm.max_memory is 1MiB: raise it, too; or"},
		{"2MiB", 2 << 20, ""},
	} {
		b := wasm.New(wasm.Config{Instances: 1, MaxMemory: c.most, Log: slog.New(slog.NewTextHandler(&log, nil)), CacheDir: testkit.WASMCache(), Compiler: testkit.Compiler(t)})
		_, err := open(t, b, model(t, xy+"limits: {memory: "+c.limit+"}\n"), withMemory(17), nil)
		if c.want == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		if own := (*backends.OwnError)(nil); !errors.As(err, &own) || !strings.Contains(own.Error(), "begins with 1088KiB of memory; "+c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if strings.Contains(log.String(), "compiled again") {
		t.Error(log.String())
	}
}

// TestLastWords checks that what a module prints before it traps is in the log and in
// the error, and that the error does not have what it printed during other calls.
func TestLastWords(t *testing.T) {
	var log bytes.Buffer
	b := wasm.New(wasm.Config{Instances: 1, CacheDir: testkit.WASMCache(), Compiler: testkit.Compiler(t), Log: slog.New(slog.NewTextHandler(&log, nil))})
	defer b.Close()
	m := model(t, xy)
	s, err := open(t, b, m, hostile.Panicking(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		var fault *backends.FaultError
		err := s.Score(t.Context(), rows(t, m, []float64{1, 2}), make([]float64, 1))
		if !errors.As(err, &fault) || !strings.HasSuffix(err.Error(), `trapped: wasm error: unreachable; it printed: {"name":"a","dtype":"float64","features":["x","y"]`) {
			t.Errorf("%v", err)
		}
	}
	if n := strings.Count(log.String(), "plugin printed"); n != 2 {
		t.Errorf("%d records: %s", n, log.String())
	}
	for text, want := range map[string]string{"größer als 3": "; it printed: abort: größer als 3 in größer als 3:7:3", "": "the module called abort"} {
		s, err := open(t, b, m, hostile.Aborting(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Score(t.Context(), rows(t, m, []float64{1, 2}), make([]float64, 1)); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
