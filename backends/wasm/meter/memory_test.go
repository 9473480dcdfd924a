package meter_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/pynomaly/pynomaly-runtime/backends/wasm/meter"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/asm"
)

// TestMemoryGrowsInPlace checks that a memory keeps its content and address when it
// grows, that new bytes are zero, that its limit holds, and that it can be freed
// twice.
func TestMemoryGrowsInPlace(t *testing.T) {
	for name, most := range map[string]uint64{"mapped": 4 << 16, "without address space": 1 << 62} {
		var memory meter.Memory
		memory.Allocate(0, most)
		memory.Reallocate(1 << 16)[7] = 9
		view := memory.Reallocate(4 << 16)
		if len(view) != 4<<16 || view[7] != 9 || view[1<<16] != 0 {
			t.Errorf("%s: %d bytes, %d, %d", name, len(view), view[7], view[1<<16])
		}
		if name == "mapped" && memory.Reallocate(5<<16) != nil {
			t.Error("it grew beyond its limit")
		}
		memory.Free()
		memory.Free()
	}
}

// TestMemoryIsReset checks that a reset restores the kept content, however the
// memory changed and grew, and that keeping and resetting can be repeated.
func TestMemoryIsReset(t *testing.T) {
	for name, most := range map[string]uint64{"mapped": 40 << 20, "without address space": 1 << 62} {
		var memory meter.Memory
		defer memory.Free()
		memory.Allocate(0, most)
		memory.Reallocate(0)
		if err := errors.Join(memory.Keep(), memory.Reset()); err != nil {
			t.Fatal(name, err)
		}
		const size = 5<<19 + 1<<16 // more than two pieces
		view := memory.Reallocate(size)
		want := make([]byte, 40<<20)
		for round := range 3 {
			for at := round; at < size; at += 70_001 {
				view[at], want[at] = byte(at), byte(at)
			}
			if err := memory.Keep(); err != nil {
				t.Fatal(name, err)
			}
			for range 2 {
				if view = memory.Reallocate(uint64(size + round<<20)); !bytes.Equal(view, want[:len(view)]) {
					t.Fatalf("%s: in round %d it differs from the kept content", name, round)
				}
				for at := 0; at < len(view); at += 4099 {
					view[at] = 0xee
				}
				if err := memory.Reset(); err != nil {
					t.Fatal(name, err)
				}
			}
			view = view[:size]
		}
	}
}

func TestMemoryGrow(t *testing.T) {
	grow := asm.One([]byte{asm.I32}, []byte{asm.I32}, nil, 0x20, asm.U(0), 0x40, 0)
	ctx := experimental.WithMemoryAllocator(meter.With(t.Context(), &meter.Budget{Units: plenty}), &meter.Memory{})
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithMemoryLimitPages(100))
	defer r.Close(ctx)
	if err := meter.Instantiate(ctx, r); err != nil {
		t.Fatal(err)
	}
	m, err := r.Instantiate(ctx, rewrite(t, grow.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ by, want uint32 }{{50, 1}, {49, 51}, {1, 1<<32 - 1}} {
		got, err := m.ExportedFunction("run").Call(ctx, uint64(c.by))
		if err != nil || uint32(got[0]) != c.want {
			t.Errorf("growing by %d returns %v, %v, want %d", c.by, got, err, c.want)
		}
	}
	if m.Memory().Size() != 100<<16 || !m.Memory().WriteByte(100<<16-1, 1) {
		t.Errorf("the memory has %d bytes", m.Memory().Size())
	}
}
