package main

import (
	"bufio"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/pynomaly/pynomaly-runtime/backends/wasm/meter"
)

// kernelFiles are what `make kernels` builds, and the source of the native variant.
//
//go:embed testdata/kernels
var kernelFiles embed.FS

func kernelFile(name string) ([]byte, error) {
	data, err := kernelFiles.ReadFile("testdata/kernels/" + name)
	if err != nil {
		return nil, fmt.Errorf("reading kernels: %w", err)
	}
	return data, nil
}

// unlimited is the budget of a call that only its deadline ends, as in the backend.
const unlimited = math.MaxInt64 / 2

// variant is a way of running the kernels. It returns the time of a call and the
// call's result.
type variant interface {
	run(kernel string) (time.Duration, uint64, error)
	close() error
}

// guestVariant runs a module in its own runtime.
type guestVariant struct {
	ctx    context.Context
	cancel context.CancelFunc
	r      wazero.Runtime
	module api.Module
	budget *meter.Budget // of metered modules
}

// newGuest instantiates a module, metered as in the backend or unchanged.
func newGuest(ctx context.Context, module []byte, metered, closing bool) (_ *guestVariant, err error) {
	g := &guestVariant{}
	g.ctx, g.cancel = context.WithCancel(ctx)
	g.r = wazero.NewRuntimeWithConfig(g.ctx, wazero.NewRuntimeConfigCompiler().WithCoreFeatures(api.CoreFeaturesV2).
		WithCloseOnContextDone(closing).WithMemoryLimitPages(guestPages))
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close())
		}
	}()
	if metered {
		if module, err = meter.Rewrite(module, meter.DefaultLimits()); err != nil {
			return nil, fmt.Errorf("metering: %w", err)
		}
		if err = meter.Instantiate(g.ctx, g.r); err != nil {
			return nil, err
		}
		g.budget = &meter.Budget{Units: unlimited}
		g.ctx = meter.With(g.ctx, g.budget)
	}
	g.module, err = g.r.InstantiateWithConfig(experimental.WithMemoryAllocator(g.ctx, &meter.Memory{}), module, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		return nil, fmt.Errorf("instantiating: %w", err)
	}
	return g, nil
}

func (g *guestVariant) run(kernel string) (time.Duration, uint64, error) {
	f := g.module.ExportedFunction(kernel)
	if f == nil {
		return 0, 0, fmt.Errorf("no kernel %s", kernel)
	}
	if g.budget != nil {
		*g.budget = meter.Budget{Units: unlimited}
	}
	var stack [1]uint64
	begin := time.Now()
	err := f.CallWithStack(g.ctx, stack[:])
	took := time.Since(begin)
	if err != nil {
		return 0, 0, fmt.Errorf("calling %s: %w", kernel, err)
	}
	return took, stack[0], nil
}

func (g *guestVariant) close() error {
	defer g.cancel()
	if err := g.r.Close(context.Background()); err != nil {
		return fmt.Errorf("closing a guest: %w", err)
	}
	return nil
}

// nativeVariant is a process with the kernels, compiled by the system's C compiler.
type nativeVariant struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// errNoCompiler means that there is no native variant to compare with.
var errNoCompiler = errors.New("no cc")

// newNative builds the kernels in dir and starts them.
func newNative(ctx context.Context, dir string) (*nativeVariant, error) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		return nil, errNoCompiler
	}
	text, err := kernelFile("kernels.c")
	if err != nil {
		return nil, err
	}
	source, binary := filepath.Join(dir, "kernels.c"), filepath.Join(dir, "kernels")
	if err := os.WriteFile(source, text, 0o600); err != nil {
		return nil, fmt.Errorf("writing kernels: %w", err)
	}
	// Without contraction, so that the results are equal to the bit.
	if out, err := exec.CommandContext(ctx, cc, "-O3", "-ffp-contract=off", "-o", binary, source).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building kernels: %w: %s", err, out)
	}
	n := &nativeVariant{cmd: exec.CommandContext(ctx, binary)}
	if n.in, err = n.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("starting kernels: %w", err)
	}
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting kernels: %w", err)
	}
	n.out = bufio.NewReader(out)
	if err := n.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting kernels: %w", err)
	}
	return n, nil
}

func (n *nativeVariant) run(kernel string) (time.Duration, uint64, error) {
	if _, err := fmt.Fprintln(n.in, kernel); err != nil {
		return 0, 0, fmt.Errorf("asking for %s: %w", kernel, err)
	}
	var took time.Duration
	var answer uint64
	if _, err := fmt.Fscanln(n.out, &took, &answer); err != nil {
		return 0, 0, fmt.Errorf("reading what %s answers: %w", kernel, err)
	}
	return took, answer, nil
}

func (n *nativeVariant) close() error {
	if err := errors.Join(n.in.Close(), n.cmd.Wait()); err != nil {
		return fmt.Errorf("ending kernels: %w", err)
	}
	return nil
}
