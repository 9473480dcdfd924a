package keys_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/api/access/keys"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestFollowed checks that a running host reads a changed file, and that an
// unreadable file leaves the keys unchanged.
func TestFollowed(t *testing.T) {
	c := newClock()
	s := store(t, c)
	key, made := create(t, s, keys.Wanted{Role: "viewer"})
	var trouble atomic.Value
	f, err := keys.Open(s.File, s.Roles, slog.New(slog.DiscardHandler), func(err error) { trouble.Store(fmt.Sprint(err)) })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { f.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	becomes := func(what, key, reason string) {
		t.Helper()
		testkit.Eventually(t, what, func() bool {
			_, err := f.Lookup([]byte(key), c.now())
			var refusal *access.Error
			return reason == "" && err == nil || errors.As(err, &refusal) && refusal.Reason == reason
		})
	}
	becomes("it is there", key, "")
	second, _ := create(t, s, keys.Wanted{Role: "admin"})
	becomes("another is added", second, "")
	if _, err := s.Revoke(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	becomes("it is revoked", key, "revoked_key")
	good, err := os.ReadFile(s.File)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "keys: [", "keys: [{id: x}]", strings.ReplaceAll(string(good), "role: admin", "role: owner")} {
		trouble.Store("")
		if err := os.WriteFile(s.File, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "the trouble is said", func() bool { text := trouble.Load(); return text != "" && text != "<nil>" })
		becomes("the keys stay", second, "")
		becomes("and so does what is refused", key, "revoked_key")
	}
	use, err := f.Prepare(roles(t, "owner"))
	if err != nil {
		t.Fatal(err)
	}
	use()
	if err := os.WriteFile(s.File, bytes.ReplaceAll(good, []byte("role: admin"), []byte("role: owner ")), 0o600); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "a role that was added is known", func() bool {
		p, err := f.Lookup([]byte(second), c.now())
		return err == nil && p.Roles[0] == "owner"
	})
	if _, err := f.Prepare(s.Roles); err == nil {
		t.Error("a role that a key has was taken away")
	}
	if _, err := keys.Open(s.File+"not there", s.Roles, slog.New(slog.DiscardHandler), nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestFileProblems checks that each problem names its line and says what to do.
func TestFileProblems(t *testing.T) {
	good := "id: abcdefgh, role: viewer, sha256: " + strings.Repeat("0a", 32)
	for text, want := range map[string]string{
		"keys: [{" + good + "}, {" + good + "}]":                          "keys[1].id: is the id of another key",
		"keys: [{" + good + ", secret: x}]":                               "unknown key",
		"keys: [{" + good + ", expires: tomorrow}]":                       "a time such as",
		"keys: [{" + good + ", models: []}]":                              "leave it out for every model",
		"keys: [{" + good + ", models: [a/b]}]":                           "is not a pattern of models",
		"keys: [{" + good + ", name: \"a\\nb\"}]":                         "one line",
		"keys: [{" + strings.ReplaceAll(good, "0a", "0A") + "}]":          "64 lower-case hex digits",
		"keys: [{" + strings.ReplaceAll(good, "abcdefgh", "short") + "}]": "must be 8 letters",
		"keys: [{id: abcdefgh}]":                                          "role: is missing",
		"keys: 1":                                                         "must be a list",
		"{}":                                                              "has no list of keys",
		"":                                                                "the file is empty",
	} {
		if _, err := keys.Decode([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if all, err := keys.Decode([]byte("keys: []")); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("pyn_abcdefgh_" + strings.Repeat("a2", 26)))
	f.Add([]byte("pyn_abcdefgh_"))
	f.Add([]byte("pyn_abc_efgh_" + strings.Repeat("a", 52)))
	f.Fuzz(func(t *testing.T, text []byte) {
		id, secret, ok := keys.Parse(text)
		if ok && keys.Prefix+string(id)+"_"+string(secret) != string(text) {
			t.Errorf("%q is %q and %q", text, id, secret)
		}
	})
}

func FuzzDecode(f *testing.F) {
	sum := strings.Repeat("0a", 32)
	f.Add([]byte("keys: [{id: abcdefgh, role: viewer, sha256: " + sum + ", models: [a*], name: x, created: 2030-01-31T12:00:00Z, expires: 2030-01-31T12:00:00+01:00}]"))
	f.Add([]byte("keys: [{id: abcdefgh, role: \"1\", sha256: '" + sum + "', name: \"true\", revoked: 2030-01-31T12:00:00.5Z}]"))
	f.Add([]byte("keys: []"))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := keys.Decode(data)
		if err != nil {
			return
		}
		text, err := keys.Encode(all)
		if err != nil {
			t.Fatal(err)
		}
		again, err := keys.Decode(text)
		if err != nil || len(again) != len(all) || len(all) > 0 && !reflect.DeepEqual(again, all) {
			t.Fatalf("%+v was written and read as %+v, %v", all, again, err)
		}
	})
}

// bigSet returns a set of many keys, and one of the keys.
func bigSet(t testing.TB) (*keys.Set, []byte) {
	t.Helper()
	key, made := create(t, store(t, newClock()), keys.Wanted{Role: "viewer"})
	all := []keys.Entry{made}
	for i := range 1000 {
		other := made
		other.ID = fmt.Sprintf("%08d", i)
		all = append(all, other)
	}
	s, err := keys.NewSet(all, roles(t))
	if err != nil {
		t.Fatal(err)
	}
	return s, []byte(key)
}

func TestLookupAllocatesNothing(t *testing.T) {
	s, key := bigSet(t)
	unknown := bytes.Replace(key, key[4:12], []byte("zzzzzzzz"), 1)
	now := time.Now()
	if n := testing.AllocsPerRun(100, func() {
		_, _ = s.Lookup(key, now)
		_, _ = s.Lookup(unknown, now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkLookup shows that a known key and an unknown key cost the same.
func BenchmarkLookup(b *testing.B) {
	s, key := bigSet(b)
	now := time.Now()
	for name, key := range map[string][]byte{"known": key, "unknown": bytes.Replace(key, key[4:12], []byte("zzzzzzzz"), 1)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = s.Lookup(key, now)
			}
		})
	}
}
