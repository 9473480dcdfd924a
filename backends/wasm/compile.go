package wasm

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/child"
)

// CompileRole is the first argument of a process that must call CompileMain and
// nothing else.
const CompileRole = "__wasm-compile"

// What compiling may take.
const (
	compileWall   = 15 * time.Second
	compileCPU    = 10 * time.Second
	compileMemory = 2 << 30
)

// compileJob is what the compiling process is told.
type compileJob struct {
	Module []byte
	Cache  string
}

// compileInChild compiles a metered module into a cache, in a process of the binary
// exe, or of this one.
func compileInChild(ctx context.Context, exe, cache string, metered []byte) error {
	var input bytes.Buffer
	if err := gob.NewEncoder(&input).Encode(compileJob{metered, cache}); err != nil {
		return fmt.Errorf("encoding the job: %w", err)
	}
	out, err := child.Run(ctx, child.Job{Exe: exe, Role: CompileRole, Input: input.Bytes(), Wall: compileWall})
	var died *child.DiedError
	switch {
	case errors.As(err, &died):
		why := "its process ended with " + died.Error()
		switch died.Cause {
		case child.Late, child.Busy:
			why = fmt.Sprintf("it takes longer than %v of processor time", compileCPU)
		case child.Large:
			why = fmt.Sprintf("it takes more than %d GiB of memory", compileMemory>>30)
		case child.Crashed, child.Failed:
		}
		return fmt.Errorf("%w: compiling the module: %s", backends.ErrRefused, why)
	case err != nil:
		return fmt.Errorf("compiling the module: %w", err)
	case len(out) > 0:
		return fmt.Errorf("%w: compiling the module: %s", backends.ErrRefused, out)
	}
	return nil
}

// CompileMain is the whole life of the compiling process. It answers with nothing,
// or with what is wrong with the module.
func CompileMain(stdin io.Reader, stdout io.Writer) error {
	var job compileJob
	if err := gob.NewDecoder(stdin).Decode(&job); err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	if err := child.LimitSelf(compileMemory, compileCPU); err != nil {
		return err
	}
	ctx := context.Background()
	cache, err := wazero.NewCompilationCacheWithDir(job.Cache)
	if err != nil {
		return fmt.Errorf("opening the cache: %w", err)
	}
	r := wazero.NewRuntimeWithConfig(ctx, runtimeConfig(cache, 0))
	if _, err := compileModule(ctx, r, job.Module); err != nil {
		_, err = io.WriteString(stdout, err.Error())
		return err
	}
	return r.Close(ctx)
}

// runtimeConfig is the same in both processes: the cache depends on it.
func runtimeConfig(cache wazero.CompilationCache, memory int64) wazero.RuntimeConfig {
	c := wazero.NewRuntimeConfigCompiler().WithCoreFeatures(api.CoreFeaturesV2).WithCompilationCache(cache)
	if memory > 0 {
		const page = 1 << 16
		c = c.WithMemoryLimitPages(uint32(max(1, min(memory/page, 1<<16))))
	}
	return c
}

// compileModule compiles; the compiler panics over some invalid modules.
func compileModule(ctx context.Context, r wazero.Runtime, module []byte) (m wazero.CompiledModule, err error) {
	defer func() {
		if p := recover(); p != nil {
			m, err = nil, fmt.Errorf("the compiler failed: %v", p)
		}
	}()
	m, err = r.CompileModule(ctx, module)
	if err != nil {
		return nil, fmt.Errorf("the module is not valid: %w", err)
	}
	return m, nil
}
