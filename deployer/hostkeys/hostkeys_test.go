package hostkeys_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/api/access/keys"
	"github.com/pynomaly/pynomaly-runtime/deployer/hostkeys"
	"github.com/pynomaly/pynomaly-runtime/deployer/render"
)

const (
	system = "pynomaly-system"
	ns     = "pynomaly-production"
	name   = "pynomaly-keys"
)

// cluster has Secrets in memory, a clock, and a function that may fail a write.
type cluster struct {
	client.Client
	t    *testing.T
	now  time.Time
	fail func(o client.Object) error
}

func newCluster(t *testing.T, objects ...client.Object) *cluster {
	c := &cluster{t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	failing := func(o client.Object, do func() error) error {
		if c.fail != nil {
			if err := c.fail(o); err != nil {
				return err
			}
		}
		return do()
	}
	c.Client = fake.NewClientBuilder().WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, w client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return failing(o, func() error { return w.Create(ctx, o, opts...) })
		},
		Update: func(ctx context.Context, w client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return failing(o, func() error { return w.Update(ctx, o, opts...) })
		},
	}).Build()
	return c
}

func (c *cluster) clock() time.Time { return c.now }

func (c *cluster) controller() hostkeys.Controller {
	return hostkeys.Controller{Client: c, Namespace: system, Now: c.clock}
}

// item returns an item of a Secret.
func (c *cluster) item(namespace, secret, item string) string {
	c.t.Helper()
	var s corev1.Secret
	if err := c.Get(c.t.Context(), client.ObjectKey{Namespace: namespace, Name: secret}, &s); err != nil {
		c.t.Fatal(err)
	}
	return string(s.Data[item])
}

// own returns the controller's keys.
func (c *cluster) own() []string { return strings.Fields(c.item(system, render.ControllerKeys, ns)) }

// accepts reports whether hosts accept a key as the controller's.
func (c *cluster) accepts(secret, key string) bool {
	c.t.Helper()
	all, err := keys.Decode([]byte(c.item(ns, secret, render.KeysItem)))
	if err != nil {
		c.t.Fatal(err)
	}
	roles, err := access.NewRoles(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	set, err := keys.NewSet(all, roles)
	if err != nil {
		c.t.Fatal(err)
	}
	p, err := set.Lookup([]byte(key), c.now)
	return err == nil && access.Decide(p, access.Samples, "m") == nil && access.Decide(p, access.Predict, "m") != nil
}

func (c *cluster) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// ensure makes the controller's key, and reports whether the hosts' file has changed.
func (c *cluster) ensure(namespace, secret string) bool {
	c.t.Helper()
	changed, err := c.controller().Ensure(c.t.Context(), namespace, secret)
	c.check(err)
	return changed
}

// TestEnsure checks that the controller has one key for each namespace, that hosts have
// its hash alone, and that a second time changes nothing.
func TestEnsure(t *testing.T) {
	c := newCluster(t)
	for i := range 2 {
		if changed := c.ensure(ns, name); changed != (i == 0) {
			t.Errorf("time %d: changed is %v", i, changed)
		}
	}
	own := c.own()
	if len(own) != 1 || !c.accepts(name, own[0]) {
		t.Fatalf("%d keys", len(own))
	}
	if text := c.item(ns, name, render.KeysItem); strings.Contains(text, own[0][len("pyn_aaaaaaaa_"):]) || strings.Count(text, "sha256:") != 1 {
		t.Errorf("hosts have\n%s", text)
	}
	c.ensure("pynomaly-staging", name)
	if other := c.item(system, render.ControllerKeys, "pynomaly-staging"); other == "" || strings.TrimSpace(other) == own[0] || c.own()[0] != own[0] {
		t.Error("namespaces share a key")
	}
	// Another Secret of the namespace, and one that was lost.
	c.ensure(ns, "others")
	c.check(c.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}))
	c.ensure(ns, name)
	if !c.accepts("others", own[0]) || !c.accepts(name, own[0]) || len(c.own()) != 1 {
		t.Error("hosts do not accept the controller's key")
	}
	// A key that was revoked is replaced.
	store, err := hostkeys.Store(c, ns, name, c.clock)
	c.check(err)
	_, err = store.Revoke(t.Context(), own[0][4:12])
	c.check(err)
	c.ensure(ns, name)
	if now := c.own(); len(now) != 1 || now[0] == own[0] || !c.accepts(name, now[0]) || c.accepts(name, own[0]) {
		t.Error("the revoked key was not replaced")
	}
}

// TestRotate checks that both keys are accepted during the overlap, and that a rotation
// that fails after any write leaves the controller a key that hosts accept.
func TestRotate(t *testing.T) {
	c := newCluster(t)
	c.ensure(ns, name)
	first := c.own()[0]
	_, err := c.controller().Rotate(t.Context(), ns, name, time.Hour)
	c.check(err)
	now := c.own()
	if len(now) != 2 || now[1] != first || !c.accepts(name, now[0]) || !c.accepts(name, first) {
		t.Fatalf("%d keys", len(now))
	}
	if c.now = c.now.Add(time.Hour); c.accepts(name, first) || !c.accepts(name, now[0]) {
		t.Error("the first key outlives the overlap")
	}
	broken := errors.New("broken")
	c.fail = func(o client.Object) error {
		if o.GetNamespace() == ns { // the second write
			return broken
		}
		return nil
	}
	if _, err := c.controller().Rotate(t.Context(), ns, name, 0); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	half := c.own()
	if len(half) != 2 || c.accepts(name, half[0]) || !c.accepts(name, half[1]) {
		t.Fatalf("%d keys", len(half))
	}
	c.fail = nil
	c.ensure(ns, name)
	if !c.accepts(name, half[0]) || !c.accepts(name, half[1]) {
		t.Error("the rotation was not finished")
	}
	_, err = c.controller().Rotate(t.Context(), ns, name, 0)
	c.check(err)
	if end := c.own(); !c.accepts(name, end[0]) || c.accepts(name, half[0]) || c.accepts(name, half[1]) {
		t.Error("keys outlive a rotation without overlap")
	}
}

// TestRaces checks that a write begins again if somebody else has changed the Secret,
// and that other items stay.
func TestRaces(t *testing.T) {
	c := newCluster(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Data: map[string][]byte{"issuer.json": []byte("{}")}})
	conflicts := 3
	c.fail = func(client.Object) error {
		if conflicts--; conflicts >= 0 {
			return apierrors.NewConflict(schema.GroupResource{Resource: "secrets"}, name, errors.New("changed"))
		}
		return nil
	}
	store, err := hostkeys.Store(c, ns, name, c.clock)
	c.check(err)
	key, made, err := store.Create(t.Context(), keys.Wanted{Role: access.RoleViewer, Name: "ci"})
	c.check(err)
	if all, err := store.List(t.Context()); err != nil || len(all) != 1 || all[0].ID != made.ID || c.accepts(name, key) || c.item(ns, name, "issuer.json") != "{}" {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := store.Revoke(t.Context(), "zzzzzzzz"); !errors.Is(err, keys.ErrNoKey) {
		t.Error(err)
	}
	none, err := hostkeys.Store(c, ns, "none", c.clock)
	c.check(err)
	if _, err := none.Revoke(t.Context(), made.ID); err == nil || !strings.Contains(err.Error(), "the Secret none of namespace "+ns) {
		t.Error(err)
	}
}

// TestOwn checks that the controller learns of keys soon, and keeps those that it has
// while it cannot read them.
func TestOwn(t *testing.T) {
	c := newCluster(t)
	var down error
	reader := interceptor.NewClient(c.Client.(client.WithWatch), interceptor.Funcs{
		Get: func(ctx context.Context, w client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if down != nil {
				return down
			}
			return w.Get(ctx, key, o, opts...)
		},
	})
	own := &hostkeys.Own{Reader: reader, Namespace: system, Now: c.clock}
	if _, err := own.Keys(t.Context(), ns); !errors.Is(err, hostkeys.ErrNoKey) || !strings.Contains(err.Error(), "deploy install") {
		t.Error(err)
	}
	c.ensure(ns, name)
	c.now = c.now.Add(3 * time.Second)
	all, err := own.Keys(t.Context(), ns)
	if err != nil || len(all) != 1 || all[0] != c.own()[0] {
		t.Errorf("%d keys, %v", len(all), err)
	}
	down = errors.New("down")
	c.now = c.now.Add(time.Hour)
	if again, err := own.Keys(t.Context(), ns); err != nil || again[0] != all[0] {
		t.Errorf("%d keys, %v", len(again), err)
	}
	if _, err := (&hostkeys.Own{Reader: reader, Namespace: system, Now: c.clock}).Keys(t.Context(), ns); !errors.Is(err, down) {
		t.Error(err)
	}
}

// TestSlow checks that an API server that does not answer leaves time to ask a host with
// the keys that are known.
func TestSlow(t *testing.T) { synctest.Test(t, testSlow) }

func testSlow(t *testing.T) {
	c := newCluster(t)
	hangs := false
	reader := interceptor.NewClient(c.Client.(client.WithWatch), interceptor.Funcs{
		Get: func(ctx context.Context, w client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if hangs {
				<-ctx.Done()
				return ctx.Err()
			}
			return w.Get(ctx, key, o, opts...)
		},
	})
	c.ensure(ns, name)
	own := &hostkeys.Own{Reader: reader, Namespace: system, Now: c.clock}
	if _, err := own.Keys(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	hangs = true
	c.now = c.now.Add(time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if all, err := own.Keys(ctx, ns); err != nil || len(all) != 1 || ctx.Err() != nil {
		t.Errorf("%d keys, %v, %v", len(all), err, ctx.Err())
	}
}

// TestNudge checks that the pods of hosts are changed, and no others.
func TestNudge(t *testing.T) {
	pod := func(name, of string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: map[string]string{render.LabelHost: of}}}
	}
	c := newCluster(t, pod("a", render.HostName), pod("b", render.HostName), pod("c", "other"))
	n, err := hostkeys.Nudge(t.Context(), c, ns, c.clock)
	if n != 2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	var pods corev1.PodList
	c.check(c.List(t.Context(), &pods))
	for _, p := range pods.Items {
		if told := p.Annotations[render.AnnotationKeysChanged] != ""; told != (p.Name != "c") {
			t.Errorf("%s: %v", p.Name, told)
		}
	}
	if n, err := hostkeys.Nudge(t.Context(), c, "elsewhere", c.clock); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}
