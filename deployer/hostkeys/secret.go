// Package hostkeys has the API keys of a cluster's hosts.
//
// Each environment has a Secret with its file of keys, which hosts mount. The file has
// only the SHA-256 of each key. The keys themselves by which the controller asks hosts
// are in a Secret of the controller's namespace, so that a host that is taken over
// knows at most the key of its own environment.
package hostkeys

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/api/access/keys"
	"github.com/pynomaly/pynomaly-runtime/deployer/render"
)

// secret is the holder of an item of a Secret.
type secret struct {
	client          client.Client
	namespace, name string
	item            string
}

func (s secret) key() client.ObjectKey {
	return client.ObjectKey{Namespace: s.namespace, Name: s.name}
}

func (s secret) String() string {
	return fmt.Sprintf("the Secret %s of namespace %s", s.name, s.namespace)
}

// Read implements keys.Holder.
func (s secret) Read(ctx context.Context) ([]byte, error) {
	var o corev1.Secret
	err := s.client.Get(ctx, s.key(), &o)
	if text, ok := o.Data[s.item]; ok && err == nil {
		return text, nil
	}
	if err == nil || apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("%s has no %s: %w", s, s.item, fs.ErrNotExist)
	}
	return nil, fmt.Errorf("reading %s: %w", s, err)
}

// maxTries is how often a Secret is written that others change at the same time.
const maxTries = 20

// errSame ends an update that changes nothing.
var errSame = errors.New("nothing changes")

// Update implements keys.Holder. The API server refuses a write if somebody else has
// changed the Secret since it was read.
func (s secret) Update(ctx context.Context, change func(was []byte) ([]byte, error)) error {
	for n := 1; ; n++ {
		var o corev1.Secret
		err := s.client.Get(ctx, s.key(), &o)
		missing := apierrors.IsNotFound(err)
		if err != nil && !missing {
			return fmt.Errorf("reading %s: %w", s, err)
		}
		data, err := change(o.Data[s.item])
		if errors.Is(err, errSame) {
			return nil
		}
		if err != nil {
			return err
		}
		if missing {
			o.ObjectMeta = metav1.ObjectMeta{Namespace: s.namespace, Name: s.name, Labels: map[string]string{render.ManagedBy: render.Manager}}
			o.Data = map[string][]byte{s.item: data}
			err = s.client.Create(ctx, &o)
		} else {
			if o.Data == nil {
				o.Data = map[string][]byte{}
			}
			o.Data[s.item] = data
			err = s.client.Update(ctx, &o)
		}
		raced := apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err)
		if err == nil || !raced || n == maxTries {
			if err != nil {
				err = fmt.Errorf("writing %s: %w", s, err)
			}
			return err
		}
	}
}

// Store returns the keys of hosts in a Secret of an environment's namespace.
func Store(c client.Client, namespace, name string, now func() time.Time) (*keys.Store, error) {
	roles, err := access.NewRoles(nil)
	if err != nil {
		return nil, fmt.Errorf("the roles of hosts: %w", err)
	}
	s := secret{c, namespace, name, render.KeysItem}
	return &keys.Store{File: s.String(), In: s, Roles: roles, Now: now, Random: rand.Reader}, nil
}
