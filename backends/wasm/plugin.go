package wasm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/wasm/meter"
	"github.com/pynomaly/pynomaly-runtime/internal/pluginlog"
)

type pluginConfig struct {
	module []byte // metered
	cache  string
	memory int64
	seed   [32]byte
	log    *slog.Logger
}

// plugin is a compiled module in its own runtime.
type plugin struct {
	cfg      pluginConfig
	cache    wazero.CompilationCache
	runtime  wazero.Runtime
	compiled wazero.CompiledModule

	instances atomic.Int64  // that are there, idle or not
	fuel      atomic.Uint64 // units that all calls took
}

// errCode means that the output of the compiling process cannot be used.
var errCode = errors.New("the module's code cannot be loaded from the cache")

// newPlugin loads a module's code from the cache, where the compiling process has
// put it.
func newPlugin(ctx context.Context, cfg pluginConfig) (_ *plugin, err error) {
	p := &plugin{cfg: cfg}
	if p.cache, err = wazero.NewCompilationCacheWithDir(cfg.cache); err != nil {
		return nil, fmt.Errorf("%w: %w", errCode, err)
	}
	p.runtime = wazero.NewRuntimeWithConfig(ctx, runtimeConfig(p.cache, cfg.memory))
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if p.compiled, err = compileModule(ctx, p.runtime, cfg.module); err != nil {
		return nil, fmt.Errorf("%w: %w", errCode, err)
	}
	if err = checkABI(p.compiled); err != nil {
		return nil, err
	}
	if err = meter.Instantiate(ctx, p.runtime); err != nil {
		return nil, err
	}
	return p, addImports(ctx, p.runtime, p.compiled)
}

func (p *plugin) close() error {
	ctx := context.Background() // close even if the caller's context has ended
	if err := errors.Join(p.runtime.Close(ctx), p.cache.Close(ctx)); err != nil {
		return fmt.Errorf("closing the module: %w", err)
	}
	return nil
}

// The reasons why an instance was lost, besides the end of a context and
// meter.ErrBudget.
var (
	errStack   = errors.New("the module used up its stack: it recurses too deep")
	errTrapped = errors.New("the module trapped")
	errExited  = errors.New("the module exited")
	errBroke   = errors.New("the module broke the plugin ABI")
)

// instance is one instance of a plugin. It takes one call at a time.
type instance struct {
	module    api.Module
	memory    *meter.Memory
	guest     *guest
	plugin    *plugin
	budget    meter.Budget
	lost      error // if set, it must not be called any more
	functions map[string]api.Function
	in, out   block
	stack     [4]uint64
	used      time.Time
	fresh     freshness
	kept      kept
}

// block is a part of the guest's memory that the host may use.
type block struct{ at, size uint32 }

// maxUnits is the budget of one call. The deadline comes first.
const maxUnits = math.MaxInt64 / 2

// instantiate makes an instance and runs its start functions.
func (p *plugin) instantiate(ctx context.Context) (*instance, error) {
	i := &instance{
		guest:     &guest{log: pluginlog.New(p.cfg.log, time.Now, nil), random: rand.NewChaCha8(p.cfg.seed), start: time.Now()},
		functions: map[string]api.Function{},
		memory:    &meter.Memory{},
		plugin:    p,
	}
	var err error
	i.module, err = p.runtime.InstantiateModule(experimental.WithMemoryAllocator(i.context(ctx), i.memory), p.compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions(exportStart))
	if err != nil {
		i.memory.Free()
		return nil, fmt.Errorf("starting the module: %w", i.cause(ctx, err))
	}
	p.instances.Add(1)
	for _, e := range exports {
		i.find(e.name)
	}
	i.find(exportKeep)
	i.find(exportReset)
	if _, err := i.call(ctx, exportMarker); err != nil {
		return nil, errors.Join(err, i.close())
	}
	return i, nil
}

// find stores an export if the module has it.
func (i *instance) find(name string) {
	if f := i.module.ExportedFunction(name); f != nil {
		i.functions[name] = f
	}
}

func (i *instance) close() error {
	i.plugin.instances.Add(-1)
	return i.module.Close(context.Background())
}

// context returns a context for the meter and the imports.
func (i *instance) context(ctx context.Context) context.Context {
	i.budget = meter.Budget{Units: maxUnits}
	return context.WithValue(meter.With(ctx, &i.budget), guestKey{}, i.guest)
}

// call calls an export. After an error the instance is lost.
func (i *instance) call(ctx context.Context, name string, args ...uint64) (uint64, error) {
	if i.lost != nil {
		return 0, i.lost
	}
	copy(i.stack[:], args)
	i.guest.log.Forget()
	err := i.functions[name].CallWithStack(i.context(ctx), i.stack[:])
	i.plugin.fuel.Add(uint64(maxUnits - i.budget.Units))
	if err != nil {
		i.lost = fmt.Errorf("%s: %w", name, i.cause(ctx, err))
		return 0, i.lost
	}
	return i.stack[0], nil
}

// cause returns a readable error for a trap, without the guest's stack trace. It has the
// last words of the guest, such as the text of a panic.
func (i *instance) cause(ctx context.Context, err error) error {
	err = i.trap(ctx, err)
	if errors.Is(err, errTrapped) || errors.Is(err, errExited) || errors.Is(err, errAbort) {
		i.guest.log.Flush()
		if tail := i.guest.log.Tail(); tail != "" {
			err = fmt.Errorf("%w; it printed: %s", err, tail)
		}
	}
	return err
}

// trap returns a readable error for a trap.
func (i *instance) trap(ctx context.Context, err error) error {
	var exit *sys.ExitError
	switch {
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil && i.budget.Busy():
		return &backends.LateError{Err: context.DeadlineExceeded}
	case ctx.Err() != nil && errors.Is(err, ctx.Err()), errors.Is(err, meter.ErrBudget), errors.Is(err, errAbort):
		return unwrapTo(err, context.DeadlineExceeded, context.Canceled, meter.ErrBudget, errAbort)
	case errors.As(err, &exit):
		return fmt.Errorf("%w with code %d", errExited, exit.ExitCode())
	}
	line := firstLine(err.Error())
	if strings.Contains(line, "stack overflow") {
		return errStack
	}
	return fmt.Errorf("%w: %s", errTrapped, line)
}

// unwrapTo returns the first of the targets that err wraps, without wazero's stack
// trace.
func unwrapTo(err error, targets ...error) error {
	for _, t := range targets {
		if errors.Is(err, t) {
			return t
		}
	}
	return err
}

// view returns a part of the guest's memory, valid until the next call.
func (i *instance) view(at, size uint32) ([]byte, error) {
	v, ok := i.module.Memory().Read(at, size)
	if !ok {
		i.lost = fmt.Errorf("%w: %d bytes at %d lie outside its memory of %d bytes", errBroke, size, at, i.module.Memory().Size())
		return nil, i.lost
	}
	return v, nil
}

// packed reads the text that an export returns as a pointer and a length.
func (i *instance) packed(ctx context.Context, name string, most uint32) ([]byte, error) {
	v, err := i.call(ctx, name)
	if err != nil || v == 0 {
		return nil, err
	}
	at, size := uint32(v>>32), uint32(v)
	if size > most {
		i.lost = fmt.Errorf("%w: %s returns %d bytes; at most %d are allowed", errBroke, name, size, most)
		return nil, i.lost
	}
	v2, err := i.view(at, size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return append([]byte(nil), v2...), nil
}

const alignment = 16

// alloc asks the guest for a block. The block must not overlap the others.
func (i *instance) alloc(ctx context.Context, size uint32, others ...block) (block, error) {
	v, err := i.call(ctx, exportAlloc, uint64(size))
	if err != nil {
		return block{}, err
	}
	b := block{at: uint32(v), size: size}
	bad := func(format string, args ...any) (block, error) {
		i.lost = fmt.Errorf("%w: %s(%d) returns %d: "+format, append([]any{errBroke, exportAlloc, size, b.at}, args...)...)
		return block{}, i.lost
	}
	switch {
	case b.at == 0:
		return bad("it has no memory left")
	case b.at%alignment != 0:
		return bad("not a multiple of %d", alignment)
	}
	if _, err := i.view(b.at, size); err != nil {
		return block{}, fmt.Errorf("%s: %w", exportAlloc, err)
	}
	for _, o := range others {
		if o.size > 0 && uint64(b.at) < uint64(o.at)+uint64(o.size) && uint64(o.at) < uint64(b.at)+uint64(b.size) {
			return bad("it overlaps a block that is in use")
		}
	}
	return b, nil
}

func (i *instance) free(ctx context.Context, b block) error {
	if b.size == 0 {
		return nil
	}
	_, err := i.call(ctx, exportFree, uint64(b.at), uint64(b.size))
	return err
}

// reserve makes a block of at least the given size, growing it geometrically.
func (i *instance) reserve(ctx context.Context, b *block, size uint64, other block) error {
	if size <= uint64(b.size) {
		return nil
	}
	const most = 1<<32 - 1 - 1<<16
	if size > most {
		return fmt.Errorf("a batch of %d bytes is too large for a module: send fewer rows per call (limits.max_batch_rows)", size)
	}
	want := min(max(size, 2*uint64(b.size), 1<<12), most)
	old := *b
	*b = block{}
	if err := i.free(ctx, old); err != nil {
		return err
	}
	next, err := i.alloc(ctx, uint32(want), other)
	if err != nil {
		return err
	}
	*b = next
	return nil
}

// The statuses of the ABI.
const (
	statusOK     = 0
	statusFailed = 1
)

// failedError is the guest's message about a call that failed without ending the
// instance.
type failedError struct {
	text   string
	hidden bool // from clients: it may contain data of other rows
}

func (e *failedError) Error() string {
	if e.hidden {
		return "the module refused the rows; the host's log has its reason"
	}
	return e.text
}

// Is reports whether the guest says that an export does nothing, which its SDK
// always defines: the text then ends with that of errors.ErrUnsupported.
func (e *failedError) Is(target error) bool {
	return target == errors.ErrUnsupported && strings.HasSuffix(e.text, errors.ErrUnsupported.Error())
}

// check converts a status to an error. For an unknown status the instance is lost;
// otherwise the error is a *failedError.
func (i *instance) check(ctx context.Context, name string, status uint64) error {
	switch uint32(status) {
	case statusOK:
		return nil
	case statusFailed:
		const most = 64 << 10
		text, err := i.packed(ctx, exportLastError, most)
		if err != nil {
			return err
		}
		if len(text) == 0 {
			text = []byte("it gives no reason")
		}
		failed := &failedError{text: pluginlog.Text(text)}
		if i.fresh == remembers && (name == exportScore || name == exportExplain || name == exportLearn) {
			failed.hidden = true
			i.guest.log.Refused(failed.text)
		}
		return failed
	}
	i.lost = fmt.Errorf("%w: %s returns the status %d", errBroke, name, uint32(status))
	return i.lost
}
