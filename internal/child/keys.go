package child

import (
	"context"
	"fmt"
	"sync"
)

// Keys lets one caller per key do work whose result the others can use, such as
// proving a graph. The zero value is ready for use.
type Keys struct {
	mu   sync.Mutex
	held map[string]*key
}

type key struct {
	turn  chan struct{} // full while the key is locked
	users int           // callers that hold the key or wait for it
}

// Lock waits until no other caller holds the key. The error is ctx's.
func (k *Keys) Lock(ctx context.Context, name string) (unlock func(), err error) {
	k.mu.Lock()
	if k.held == nil {
		k.held = map[string]*key{}
	}
	e := k.held[name]
	if e == nil {
		e = &key{turn: make(chan struct{}, 1)}
		k.held[name] = e
	}
	e.users++
	k.mu.Unlock()
	leave := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if e.users--; e.users == 0 {
			delete(k.held, name)
		}
	}
	select {
	case e.turn <- struct{}{}:
		return func() { <-e.turn; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, fmt.Errorf("waiting for another caller to do the same work: %w", ctx.Err())
	}
}
