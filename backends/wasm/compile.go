package wasm

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/child"
)

// CompileRole is the first argument of the compiling process, whose main function
// must only call CompileMain.
const CompileRole = "__wasm-compile"

// The limits of compiling a module.
const (
	compileWall   = 10 * compileCPU // ends a compilation even on a busy machine
	compileCPU    = 10 * time.Second
	compileMemory = 2 << 30
)

// The memory that compiling needs: 82 MiB for a module of 60 kB, 135 MiB for one of
// 3.3 MB.
const (
	compileBase  = 80 << 20
	compileTimes = 24 // times the bytes of the module
)

// compileJob is the input of the compiling process.
type compileJob struct {
	Module []byte
	Cache  string
}

// compileAnswer is its output.
type compileAnswer struct {
	Error        string // empty: the code is in the cache
	Surroundings bool   // Error is about the machine's state, not the module
}

// compileInChild compiles a metered module into a cache, in a child process.
func compileInChild(ctx context.Context, cfg Config, cache string, metered []byte) error {
	var input bytes.Buffer
	if err := gob.NewEncoder(&input).Encode(compileJob{metered, cache}); err != nil {
		return fmt.Errorf("encoding the job: %w", err)
	}
	out, err := child.Run(ctx, child.Job{
		Exe: cfg.Compiler, Role: CompileRole, Input: input.Bytes(), Writes: []string{cache}, Wall: compileWall, CPU: compileCPU,
		Limiter: cfg.Limiter, Memory: min(compileBase+compileTimes*int64(len(metered)), compileMemory),
	})
	var died *child.DiedError
	var answer compileAnswer
	switch {
	case errors.As(err, &died) && died.Cause.Surroundings():
		return fmt.Errorf("%w: compiling the module: %w", backends.ErrSurroundings, died)
	case errors.As(err, &died):
		return fmt.Errorf("%w: compiling the module: %w", backends.ErrRefused, reason(died))
	case err != nil:
		return fmt.Errorf("compiling the module: %w", err)
	case json.Unmarshal(out, &answer) != nil:
		return fmt.Errorf("%w: compiling the module: its process wrote nonsense: %.200q", backends.ErrRefused, out)
	case answer.Surroundings:
		return fmt.Errorf("%w: compiling the module: %s", backends.ErrSurroundings, answer.Error)
	case answer.Error != "":
		return fmt.Errorf("%w: compiling the module: %s", backends.ErrRefused, answer.Error)
	}
	return nil
}

// reason describes why the module ended the compiling process.
func reason(died *child.DiedError) error {
	switch died.Cause {
	case child.Late, child.Busy:
		return backends.Ownf("it takes longer than %v of processor time", compileCPU)
	case child.Large:
		return backends.Ownf("it takes more than %d GiB of memory", compileMemory>>30)
	case child.Forbidden:
		return backends.Ownf("its process ended with %w", died.Err)
	default:
		return errors.New("its process ended with " + died.Error())
	}
}

// CompileMain is the main function of the compiling process. It reads one job and
// writes one answer.
func CompileMain(stdin io.Reader, stdout io.Writer) error {
	var answer compileAnswer
	if err := compile(stdin); err != nil {
		answer.Error, answer.Surroundings = err.Error(), errors.Is(err, backends.ErrSurroundings)
		answer.Error = strings.TrimPrefix(answer.Error, backends.ErrSurroundings.Error()+": ")
	}
	return json.NewEncoder(stdout).Encode(answer)
}

func compile(stdin io.Reader) error {
	var job compileJob
	if err := gob.NewDecoder(stdin).Decode(&job); err != nil {
		return fmt.Errorf("%w: reading the job: %w", backends.ErrSurroundings, err)
	}
	cramped, err := child.LimitSelf(compileMemory, compileCPU)
	if err != nil {
		return fmt.Errorf("%w: %w", backends.ErrSurroundings, err)
	}
	ctx := context.Background()
	cache, err := wazero.NewCompilationCacheWithDir(job.Cache)
	if err != nil {
		return fmt.Errorf("%w: opening the cache: %w", backends.ErrSurroundings, err)
	}
	if err := child.Confine(true); err != nil {
		return fmt.Errorf("%w: %w", backends.ErrSurroundings, err)
	}
	r := wazero.NewRuntimeWithConfig(ctx, runtimeConfig(cache, 0))
	_, err = compileModule(ctx, r, job.Module)
	switch {
	case errors.Is(err, syscall.ENOMEM) && cramped:
		return fmt.Errorf("%w: %w: %w", backends.ErrSurroundings, child.ErrCramped, err)
	case errors.Is(err, syscall.ENOMEM): // the limit that this process has set for itself
		return err
	case backends.Surroundings(err), errors.Is(err, fs.ErrNotExist): // from writing the code
		return writing(err)
	case err != nil:
		return err
	}
	return r.Close(ctx)
}

// runtimeConfig must be equal in both processes, because the cache depends on it.
func runtimeConfig(cache wazero.CompilationCache, memory int64) wazero.RuntimeConfig {
	c := wazero.NewRuntimeConfigCompiler().WithCoreFeatures(api.CoreFeaturesV2).WithCompilationCache(cache)
	if memory > 0 {
		const page = 1 << 16
		c = c.WithMemoryLimitPages(uint32(max(1, min(memory/page, 1<<16))))
	}
	return c
}

// compileModule compiles a module. It recovers from the compiler's panics on some
// invalid modules.
func compileModule(ctx context.Context, r wazero.Runtime, module []byte) (m wazero.CompiledModule, err error) {
	defer func() {
		if p := recover(); p != nil {
			cause, ok := p.(error) // such as a lack of memory
			if !ok {
				cause = fmt.Errorf("%v", p)
			}
			m, err = nil, fmt.Errorf("the compiler failed: %w", cause)
		}
	}()
	m, err = r.CompileModule(ctx, module)
	switch {
	case err == nil:
		return m, nil
	case backends.Surroundings(err), errors.Is(err, fs.ErrNotExist): // of the cache
		return nil, err
	}
	return nil, fmt.Errorf("the module is not valid: %w", err)
}
