package keys_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/api/access/keys"
)

func roles(t testing.TB, own ...string) *access.Roles {
	t.Helper()
	of := map[string][]string{}
	for _, name := range own {
		of[name] = []string{"read"}
	}
	r, err := access.NewRoles(of)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// clock is a clock that a test sets.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC).Unix())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(c.at.Load(), 0) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d / time.Second)) }

func store(t testing.TB, c *clock) *keys.Store {
	t.Helper()
	return &keys.Store{File: filepath.Join(t.TempDir(), "keys.yaml"), Roles: roles(t), Now: c.now, Random: rand.Reader}
}

func create(t testing.TB, s *keys.Store, w keys.Wanted) (string, keys.Entry) {
	t.Helper()
	key, made, err := s.Create(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	return key, made
}

// set returns what a host reads from the store's file.
func set(t testing.TB, s *keys.Store) *keys.Set {
	t.Helper()
	all, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out, err := keys.NewSet(all, s.Roles)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// looksUp fails the test unless the key is refused for the reason, or accepted if
// reason is empty.
func looksUp(t testing.TB, s *keys.Set, key string, now time.Time, reason string) *access.Principal {
	t.Helper()
	p, err := s.Lookup([]byte(key), now)
	var refusal *access.Error
	switch {
	case reason == "" && err != nil:
		t.Errorf("%s: %v", key, err)
	case reason != "" && (!errors.As(err, &refusal) || refusal.Reason != reason || !errors.Is(err, access.ErrUnauthenticated) || p != nil):
		t.Errorf("%s: %v, %v; want %s", key, p, err, reason)
	}
	return p
}

// TestLife checks that a key is valid from its creation until it expires or is
// revoked.
func TestLife(t *testing.T) {
	c := newClock()
	s := store(t, c)
	plain, _ := create(t, s, keys.Wanted{Role: "admin"})
	short, made := create(t, s, keys.Wanted{Name: "ci", Role: "operator", Models: []string{"fraud*", "cardio"}, Lifetime: time.Hour})
	if info, err := os.Stat(s.File); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if text, err := os.ReadFile(s.File); err != nil || strings.Contains(string(text), strings.Split(short, "_")[2]) {
		t.Errorf("the file holds the secret: %s, %v", text, err)
	}
	p := looksUp(t, set(t, s), short, c.now(), "")
	if p.Kind != access.Key || p.ID != made.ID || p.Name != "ci" || !p.Models.Match("fraud-eu") || p.Models.Match("other") || !p.Actions.Has(access.Learn) || p.Actions.Has(access.Admin) {
		t.Errorf("%+v", p)
	}
	looksUp(t, set(t, s), short, c.now().Add(time.Hour-time.Second), "")
	looksUp(t, set(t, s), short, c.now().Add(time.Hour), "expired_key")
	looksUp(t, set(t, s), plain, c.now().Add(100*365*24*time.Hour), "")
	if _, err := s.Revoke(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	looksUp(t, set(t, s), short, c.now().Add(-time.Hour), "revoked_key") // whatever the clock says
	looksUp(t, set(t, s), plain, c.now(), "")
	if _, err := s.Revoke(t.Context(), "zzzzzzzz"); !errors.Is(err, keys.ErrNoKey) {
		t.Error(err)
	}
	if _, _, err := s.Rotate(t.Context(), made.ID, time.Hour); err == nil {
		t.Error("a key that is revoked was rotated")
	}
}

// TestRotate checks that the old key stays valid for the overlap, and that the new
// key has the old key's lifetime and rights.
func TestRotate(t *testing.T) {
	c := newClock()
	s := store(t, c)
	old, was := create(t, s, keys.Wanted{Name: "ci", Role: "viewer", Models: []string{"a*"}, Lifetime: 90 * time.Hour})
	c.advance(50 * time.Hour)
	key, is, err := s.Rotate(t.Context(), was.ID, 24*time.Hour)
	if err != nil || is.ID == was.ID || key == old || is.Name != "ci" || is.Role != "viewer" || !reflect.DeepEqual(is.Models, was.Models) {
		t.Fatalf("%+v, %v", is, err)
	}
	for after, want := range map[time.Duration][2]string{
		0: {"", ""}, 23 * time.Hour: {"", ""}, 24 * time.Hour: {"expired_key", ""}, 89 * time.Hour: {"expired_key", ""}, 90 * time.Hour: {"expired_key", "expired_key"},
	} {
		looksUp(t, set(t, s), old, c.now().Add(after), want[0])
		looksUp(t, set(t, s), key, c.now().Add(after), want[1])
	}
	c.advance(60 * time.Hour)
	if _, _, err := s.Rotate(t.Context(), was.ID, time.Hour); err == nil {
		t.Error("a key that has expired was rotated")
	}
	if _, _, err := s.Rotate(t.Context(), is.ID, 100*time.Hour); err != nil {
		t.Error(err)
	}
	looksUp(t, set(t, s), key, c.now().Add(31*time.Hour), "expired_key") // the overlap does not extend a key's life
}

// TestWrongKeys checks that everything but an exact key of the file is refused.
func TestWrongKeys(t *testing.T) {
	c := newClock()
	s := store(t, c)
	key, made := create(t, s, keys.Wanted{Role: "viewer"})
	other, _ := create(t, s, keys.Wanted{Role: "viewer"})
	for wrong, reason := range map[string]string{
		"": "malformed_key", "pyn_": "malformed_key", key + "a": "malformed_key", key[:len(key)-1]: "malformed_key",
		strings.ToUpper(key): "malformed_key", " " + key[1:]: "malformed_key", strings.Replace(key, "_", "-", 2): "malformed_key",
		key[:len(key)-1] + "\x00": "malformed_key", strings.Repeat("a", 1<<20): "malformed_key",
		key[:len("pyn_")+8] + other[len("pyn_")+8:]: "unknown_key", // another key's secret
		"pyn_zzzzzzzz" + key[len("pyn_")+8:]:        "unknown_key", // another id
		"pyn_" + made.ID + "_" + made.SHA256[:52]:   "malformed_key",
	} {
		looksUp(t, set(t, s), wrong, c.now(), reason)
	}
	flipped := []byte(key)
	if flipped[len(key)-1]++; flipped[len(key)-1] == 'z'+1 || flipped[len(key)-1] == '7'+1 {
		flipped[len(key)-1] = 'b'
	}
	looksUp(t, set(t, s), string(flipped), c.now(), "unknown_key")
}

// TestNothingIsLost checks that the file has all keys that were created, revoked and
// rotated concurrently.
func TestNothingIsLost(t *testing.T) {
	const each = 5
	c := newClock()
	s := store(t, c)
	_, victim := create(t, s, keys.Wanted{Role: "viewer"})
	var wg sync.WaitGroup
	var mu sync.Mutex
	var made []string
	for i := range 8 {
		wg.Go(func() {
			for j := range each {
				key, _, err := s.Create(t.Context(), keys.Wanted{Name: fmt.Sprint(i, j), Role: "operator"})
				if err != nil {
					t.Error(err)
				}
				if _, err := s.Revoke(t.Context(), victim.ID); err != nil {
					t.Error(err)
				}
				mu.Lock()
				made = append(made, key)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	all := set(t, s)
	if all.Len() != 8*each+1 {
		t.Errorf("%d keys are left", all.Len())
	}
	for _, key := range made {
		looksUp(t, all, key, c.now(), "")
	}
}

// TestStoreRefuses checks that nothing is written that a host could not read, and
// that waiting for a lock ends with the context.
func TestStoreRefuses(t *testing.T) {
	s := store(t, newClock())
	for _, w := range []keys.Wanted{{}, {Role: "owner"}, {Role: "viewer", Models: []string{"a/b"}}, {Role: "viewer", Name: "a\nb"}, {Role: "viewer", Models: []string{}, Name: strings.Repeat("n", 200)}} {
		if _, _, err := s.Create(t.Context(), w); err == nil {
			t.Errorf("%+v was made", w)
		}
	}
	if _, err := s.List(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was written: %v", err)
	}
	if _, err := s.Revoke(t.Context(), "zzzzzzzz"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := os.WriteFile(s.File, []byte("keys: [{id: x}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Create(t.Context(), keys.Wanted{Role: "viewer"}); err == nil {
		t.Error("a file that cannot be read was replaced")
	}
	s.Random = bytes.NewReader(nil)
	if _, _, err := (&keys.Store{File: s.File + "2", Roles: s.Roles, Now: s.Now, Random: s.Random}).Create(t.Context(), keys.Wanted{Role: "viewer"}); err == nil {
		t.Error("a key was made of nothing")
	}
	s = store(t, newClock())
	reading := make(chan struct{})
	held, release := context.WithCancel(t.Context())
	s.Random = holding{reading, held}
	var wg sync.WaitGroup
	wg.Go(func() { _, _, _ = s.Create(t.Context(), keys.Wanted{Role: "viewer"}) })
	<-reading
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.Revoke(ctx, "zzzzzzzz"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	release()
	wg.Wait()
}

// holding is a source of randomness that is read while the lock is held.
type holding struct {
	reading chan struct{}
	held    context.Context //nolint:containedctx // a test's
}

func (h holding) Read([]byte) (int, error) {
	close(h.reading)
	<-h.held.Done()
	return 0, h.held.Err()
}

// TestLinksAndModes checks that a link to the file stays a link, and that its group
// may still read it.
func TestLinksAndModes(t *testing.T) {
	c := newClock()
	s := store(t, c)
	create(t, s, keys.Wanted{Role: "viewer"})
	if err := os.Chmod(s.File, 0o644); err != nil {
		t.Fatal(err)
	}
	link := s.File + ".link"
	if err := os.Symlink(s.File, link); err != nil {
		t.Fatal(err)
	}
	s.File = link
	create(t, s, keys.Wanted{Role: "viewer"})
	if got := set(t, s).Len(); got != 2 {
		t.Errorf("%d keys", got)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info, err)
	}
	if info, err := os.Stat(link); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the file is %v, %v", info, err)
	}
}
