package hostkeys

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/api/access/keys"
	"github.com/pynomaly/pynomaly-runtime/deployer/render"
)

// ErrNoKey means that the controller has no key for the hosts of a namespace.
var ErrNoKey = errors.New("the controller has no key for its hosts")

// Own are the controller's own keys, in a Secret of its namespace: for each namespace of
// hosts an item with the present key, and below it those that it replaces. It is safe
// for concurrent use.
type Own struct {
	Reader    client.Reader // not cached
	Namespace string        // the controller's
	Now       func() time.Time

	mu   sync.Mutex
	read time.Time
	all  map[string][]byte
}

// fresh is how long the keys are used without reading them again.
const fresh = 2 * time.Second

// Keys returns the keys for the hosts of a namespace, the present one first. The error
// is ErrNoKey if there is none.
func (o *Own) Keys(ctx context.Context, namespace string) ([]string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now := o.Now(); o.all == nil || now.Sub(o.read) > fresh || now.Before(o.read) {
		var s corev1.Secret
		err := o.get(ctx, &s)
		switch {
		case client.IgnoreNotFound(err) == nil:
			o.all = map[string][]byte{}
			maps.Copy(o.all, s.Data)
		case o.all == nil: // otherwise those that are known stay in use
			return nil, fmt.Errorf("reading the controller's keys: %w", err)
		}
		o.read = o.Now()
	}
	if all := parse(o.all[namespace]); len(all) > 0 {
		return all, nil
	}
	return nil, fmt.Errorf("%w of namespace %s: `deploy install` makes it", ErrNoKey, namespace)
}

// get reads the Secret. If there are known keys, it leaves half of the context's time to
// the caller, whose host may answer sooner than the API server.
func (o *Own) get(ctx context.Context, s *corev1.Secret) error {
	if until, ok := ctx.Deadline(); ok && o.all != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(until)/2)
		defer cancel()
	}
	return o.Reader.Get(ctx, client.ObjectKey{Namespace: o.Namespace, Name: render.ControllerKeys}, s) //nolint:wrapcheck // Keys says what was read
}

func parse(text []byte) []string { return strings.Fields(string(text)) }

// Controller makes and replaces the controller's keys.
type Controller struct {
	Client    client.Client
	Namespace string // the controller's
	Now       func() time.Time
}

// name is the name of the controller's keys, for people.
const name = "controller"

func (c Controller) held(namespace string) secret {
	return secret{c.Client, c.Namespace, render.ControllerKeys, namespace}
}

// Ensure makes a key for the hosts of a namespace, if the controller has none that is
// valid there, and makes their file of keys if it is missing. It reports whether it has
// changed that file: hosts that run do not know the key before they read it again.
func (c Controller) Ensure(ctx context.Context, namespace, keysSecret string) (changed bool, err error) {
	changed, err = c.valid(ctx, namespace, keysSecret)
	if errors.Is(err, errNotValid) {
		_, err = c.Rotate(ctx, namespace, keysSecret, 0)
		changed = err == nil
	}
	return changed, err
}

// errNotValid means that hosts do not accept the controller's present key, and will
// not.
var errNotValid = errors.New("the controller's key is not valid")

// valid adds the entry of the controller's present key to the hosts' file if it is missing
// there, and reports whether it was. The error is errNotValid if hosts do not accept the key.
func (c Controller) valid(ctx context.Context, namespace, keysSecret string) (added bool, err error) {
	text, err := c.held(namespace).Read(ctx)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(parse(text)) == 0 {
		return false, errNotValid
	}
	if err != nil {
		return false, err
	}
	present, err := c.entry(parse(text)[0])
	if err != nil {
		return false, errNotValid
	}
	store, err := Store(c.Client, namespace, keysSecret, c.Now)
	if err != nil {
		return false, err
	}
	err = store.Change(ctx, func(all []keys.Entry) ([]keys.Entry, error) {
		i := slices.IndexFunc(all, func(e keys.Entry) bool { return e.ID == present.ID })
		switch added = i < 0; {
		case added:
			return append(all, present), nil
		case all[i].Status(c.Now()) != "active" || all[i].SHA256 != present.SHA256:
			return nil, errNotValid
		}
		return nil, errSame
	})
	return added && err == nil, err
}

// entry returns the entry of a key of the controller.
func (c Controller) entry(key string) (keys.Entry, error) {
	e, err := keys.EntryOf(key)
	e.Name, e.Role, e.Created = name, access.RoleController, c.Now().UTC().Truncate(time.Second)
	return e, err
}

// Rotate replaces the controller's key for the hosts of a namespace. Hosts accept the
// keys before it for overlap. The controller has the new key before hosts know it, and
// falls back to the one before while they refuse it: so nothing is lost, and a rotation
// that is killed is finished by the next one.
func (c Controller) Rotate(ctx context.Context, namespace, keysSecret string, overlap time.Duration) (keys.Entry, error) {
	store, err := Store(c.Client, namespace, keysSecret, c.Now)
	if err != nil {
		return keys.Entry{}, err
	}
	hosts, err := store.List(ctx)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return keys.Entry{}, err
	}
	made := keys.Entry{Name: name, Role: access.RoleController}
	key, err := store.Make(&made, hosts)
	if err != nil {
		return keys.Entry{}, err
	}
	err = c.held(namespace).Update(ctx, func(was []byte) ([]byte, error) {
		kept := slices.DeleteFunc(parse(was), func(old string) bool { return !c.lives(old, hosts) })
		return []byte(strings.Join(append([]string{key}, kept...), "\n") + "\n"), nil
	})
	if err != nil {
		return keys.Entry{}, err
	}
	end := made.Created.Add(overlap)
	err = store.Change(ctx, func(all []keys.Entry) ([]keys.Entry, error) {
		for i := range all {
			old := &all[i]
			if old.Role == access.RoleController && old.Name == name && (old.Expires.IsZero() || end.Before(old.Expires)) {
				old.Expires = end
			}
		}
		return append(all, made), nil
	})
	return made, err
}

// lives reports whether hosts accept a key.
func (c Controller) lives(key string, hosts []keys.Entry) bool {
	e, err := keys.EntryOf(key)
	return err == nil && slices.ContainsFunc(hosts, func(h keys.Entry) bool {
		return h.ID == e.ID && h.Status(c.Now()) == "active"
	})
}
