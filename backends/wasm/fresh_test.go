package wasm_test

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends/wasm"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hostile"
)

// TestNothingIsPassedOn checks that the next call cannot see what a module keeps of
// a row, unless the module asks to keep its memory. In that case its reasons go only
// to the log.
func TestNothingIsPassedOn(t *testing.T) {
	for _, c := range hostile.Leaks() {
		t.Run(c.Name, func(t *testing.T) {
			var log bytes.Buffer
			b := wasm.New(wasm.Config{CacheDir: testkit.WASMCache(), Instances: 1, Compiler: testkit.Compiler(t), Log: slog.New(slog.NewTextHandler(&log, nil))})
			defer b.Close()
			m := model(t, xy)
			s, err := open(t, b, m, c.Module, nil)
			if err != nil {
				t.Fatal(err)
			}
			secret := math.Float64frombits(binary.LittleEndian.Uint64([]byte(hostile.Secret)))
			out := make([]float64, 1)
			for call, x := range []float64{secret, 1, 2} {
				out[0] = -1
				err := s.Score(t.Context(), rows(t, m, []float64{x, 0}), out)
				switch {
				case call > 0 && c.Asks && c.Fails:
					if err == nil || !strings.Contains(err.Error(), "the host's log") || strings.Contains(err.Error(), hostile.Secret) {
						t.Errorf("call %d: %v", call, err)
					}
				case call > 0 && c.Asks:
					if want := []float64{secret, 1}[call-1]; err != nil || out[0] != want {
						t.Errorf("call %d of a module that keeps its memory: %v, %v, want %v", call, out[0], err, want)
					}
				case err != nil || out[0] != 0:
					t.Errorf("call %d: %v, %v", call, out[0], err)
				}
			}
			if inLog := strings.Contains(log.String(), hostile.Secret); inLog != (c.Asks && c.Fails) {
				t.Errorf("log: %s", log.String())
			}
		})
	}
}

// TestNothingIsReached checks that WASI's functions for files and sockets exist and
// fail for every descriptor.
func TestNothingIsReached(t *testing.T) {
	const noDescriptor = 8 // EBADF of WASI
	b := testkit.WASM(t)
	for name, types := range map[string]string{
		"path_open": "iiiiillii", "path_readlink": "iiiiii", "path_unlink_file": "iii", "path_rename": "iiiiii", "path_symlink": "iiiii", "path_create_directory": "iii",
		"fd_read": "iiii", "fd_pread": "iiili", "fd_readdir": "iiili", "fd_prestat_get": "ii", "sock_accept": "iii", "sock_recv": "iiiiii", "sock_send": "iiiii",
	} {
		m := model(t, xy)
		s, err := open(t, b, m, hostile.Answering(name, types), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		out := make([]float64, 1)
		if err := s.Score(t.Context(), rows(t, m, []float64{1, 2}), out); err != nil || out[0] != noDescriptor {
			t.Errorf("%s returns %v, %v", name, out, err)
		}
	}
}
