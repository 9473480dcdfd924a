package wasm

import (
	"context"
	"errors"
	"math/rand/v2"
)

// freshness says how a call is isolated from earlier calls of its instance.
type freshness int

const (
	remembers freshness = iota // not isolated: the module asked for that
	resets                     // the changes of a call are undone after it
	once                       // an instance serves one call, because changes cannot be undone
)

// freshnessOf decides for all instances of a module, given one of them.
func freshnessOf(i *instance, stateful, reset bool) freshness {
	switch {
	case stateful || !reset:
		return remembers
	case i.functions[exportKeep] == nil:
		return once
	}
	return resets
}

// kept is the state that is restored after a call, besides the memory and the
// globals, which the module restores itself.
type kept struct {
	valid  bool
	random rand.ChaCha8
}

// reserveBlocks makes the blocks for a call's rows and results. It keeps the state
// with these blocks and without rows.
func (i *instance) reserveBlocks(ctx context.Context, in, out uint64) error {
	if in > uint64(i.in.size) || out > uint64(i.out.size) {
		i.kept.valid = false
	}
	if err := i.reserve(ctx, &i.in, in, i.out); err != nil {
		return err
	}
	if err := i.reserve(ctx, &i.out, out, i.in); err != nil {
		return err
	}
	if i.fresh != resets {
		return nil
	}
	if !i.kept.valid {
		if err := i.keep(ctx); err != nil {
			return err
		}
	}
	i.memory.Begin()
	return nil
}

func (i *instance) keep(ctx context.Context) error {
	if _, err := i.call(ctx, exportKeep); err != nil {
		return err
	}
	if err := i.memory.Keep(); err != nil {
		i.lost = err
		return err
	}
	i.kept = kept{valid: true, random: *i.guest.random}
	return nil
}

// end ends a call and removes what it left in the instance.
func (i *instance) end(ctx context.Context) {
	switch {
	case i.fresh == once && i.lost == nil:
		i.lost = errors.New("an instance of this module is used for one call")
	case i.fresh == resets && i.kept.valid:
		if err := i.memory.Reset(); i.lost == nil {
			i.lost = err
		}
		*i.guest.random = i.kept.random
		_, _ = i.call(ctx, exportReset) // a failure marks the instance as lost
	}
}
