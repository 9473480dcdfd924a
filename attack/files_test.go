package attack

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// files returns attacks by who can write files that the host reads.
func files() []attack {
	return []attack{
		{name: "a model's folder is exchanged for a link to the host's own files while it loads", must: "never served, and no word of them is told", run: func(t *testing.T, s *site) string { return s.race(t) }},
		{name: "a model's manifest is exchanged for a link to the file of keys while it loads", must: "no word of it is told", run: func(t *testing.T, s *site) string { return s.raceOfManifests(t) }},
		{name: "the file of keys is broken", must: "the keys that were read stay good, and no other", run: func(t *testing.T, s *site) string {
			return s.withKeys(t, func(file string) error { return os.WriteFile(file, []byte("keys: [{id: x, role: admin"), 0o600) })
		}},
		{name: "the file of keys is emptied", must: "the keys that were read stay good", run: func(t *testing.T, s *site) string {
			return s.withKeys(t, func(file string) error { return os.WriteFile(file, nil, 0o600) })
		}},
		{name: "the file of keys is removed", must: "the keys that were read stay good", run: func(t *testing.T, s *site) string { return s.withKeys(t, os.Remove) }},
		{name: "the file of keys is a pipe", must: "the keys that were read stay good", run: func(t *testing.T, s *site) string {
			return s.withKeys(t, func(file string) error { _ = os.Remove(file); return syscall.Mkfifo(file, 0o600) })
		}},
	}
}

// exchange renames two names for each other until stop is closed.
func exchange(t *testing.T, stop <-chan struct{}, one, two string) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		aside := one + ".aside"
		if err := os.Rename(one, aside); err != nil {
			t.Error(err)
			return
		}
		if err := os.Rename(two, one); err != nil {
			t.Error(err)
			return
		}
		if err := os.Rename(aside, two); err != nil {
			t.Error(err)
			return
		}
	}
}

// racing makes two names be exchanged while the host is asked to load a model, and
// returns what it answered.
func (s *site) racing(t *testing.T, id, one, two string) {
	t.Helper()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { exchange(t, stop, one, two) })
	for range 30 {
		s.one(t, nil, post(modelsPath+"/"+id+"/load", "", shown(s.admin))) // harmless looks for words of the files
		s.one(t, nil, get(modelsPath+"/"+id, shown(s.admin)))
	}
	close(stop)
	wg.Wait()
}

// race exchanges the folder of a version for a link to a folder that holds a complete
// model outside of the models directory.
func (s *site) race(t *testing.T) string {
	outside := filepath.Join(s.Root, "outside")
	testkit.CopyModel(t, outside, "ecod-c", "racing", "1.0.0", func(text string) string { return text + "metadata: {secret: outside}\n" })
	testkit.CopyModel(t, s.Models, "ecod-c", "racing", "1.0.0", nil)
	s.Serves("racing")
	version, link := filepath.Join(s.Models, "racing", "1.0.0"), filepath.Join(s.Models, ".link")
	check(t, os.Symlink(filepath.Join(outside, "racing", "1.0.0"), link))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { exchange(t, stop, version, link) })
	for range 30 {
		s.one(t, nil, post(modelsPath+"/racing/load", "", shown(s.admin)))
		if a := s.one(t, nil, get(modelsPath+"/racing", shown(s.admin))); strings.Contains(a.text, `"outside"`) {
			t.Errorf("what is outside is served: %s", a.text)
		}
	}
	close(stop)
	wg.Wait()
	check(t, os.RemoveAll(filepath.Join(s.Models, "racing")), os.RemoveAll(link))
	return "never served"
}

// raceOfManifests exchanges a manifest for a link to the file of keys.
func (s *site) raceOfManifests(t *testing.T) string {
	testkit.CopyModel(t, s.Models, "ecod-c", "racer", "1.0.0", nil)
	s.Serves("racer")
	manifest, link := filepath.Join(s.Models, "racer", "1.0.0", "model.yaml"), filepath.Join(s.Models, ".link")
	check(t, os.Symlink(s.keys, link))
	s.racing(t, "racer", manifest, link)
	hashes, err := os.ReadFile(s.keys)
	check(t, err)
	_, sum, _ := strings.Cut(string(hashes), "sha256: ")
	if s.Logged(strings.TrimSpace(sum[:64])) {
		t.Error("the log holds what the file of keys holds")
	}
	check(t, os.RemoveAll(filepath.Join(s.Models, "racer")), os.RemoveAll(link))
	return "nothing is told"
}

// withKeys changes the file of keys, waits until the host has looked at it, and puts it
// back.
func (s *site) withKeys(t *testing.T, change func(file string) error) string {
	before, err := os.ReadFile(s.keys)
	check(t, err)
	const read = `host_credentials_read_successful{source="keys"}`
	s.Eventually("the host has read the file", func() bool { return s.Metric(read) == 1 })
	check(t, change(s.keys))
	s.Eventually("the host has looked", func() bool { return s.Metric(read) == 0 })
	for key, want := range map[string]int{s.viewer: 200, s.admin: 200, "pyn_aaaaaaaa_" + strings.Repeat("A", 43): 401} {
		if a := s.one(t, nil, get(modelsPath, shown(key))); a.status != want {
			t.Errorf("%v", a)
		}
	}
	check(t, os.RemoveAll(s.keys))
	write(t, s.keys, string(before))
	key := s.key(t, "--role", "viewer")
	s.Eventually("a new key is known", func() bool { return s.one(t, nil, get(modelsPath, shown(key))).status == 200 })
	return "200 for those, 401 for others"
}
