package modelstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// TestResolve checks that all commands find models by one rule, and that the newest
// version is a release if there is one.
func TestResolve(t *testing.T) {
	root := t.TempDir()
	s := modelstore.Store{Dir: filepath.Join(root, "models")}
	if err := os.Mkdir(s.Dir, 0o750); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{"m@1.0.0", "m@1.2.0", "m@1.10.0", "m@2.0.0-rc.1", "pre@1.0.0-rc.2", "pre@1.0.0-rc.10", "one@3.0.0"} {
		id, version, _ := strings.Cut(at, "@")
		testkit.CopyModel(t, s.Dir, "ecod-c", id, version, nil)
	}
	testkit.CopyModel(t, root, "ecod-c", "beside", "5.0.0", nil)
	testkit.CopyModel(t, root, "ecod-c", "one", "4.0.0", nil)
	for _, stray := range []string{"models/m/1.11", "models/m/9.0.0", "models/m/1.10.0+b", "models/one/backup", "beside/1.11", "beside/9.0.0"} {
		if err := os.Mkdir(filepath.Join(root, stray), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(root)
	for name, want := range map[string]string{
		"m": "1.10.0", "m@latest": "1.10.0", "m@1.2.0": "1.2.0", "m@2.0.0-rc.1": "2.0.0-rc.1",
		"pre": "1.0.0-rc.10", "one": "3.0.0", "one@3.0.0": "3.0.0",
		"beside": "5.0.0", "one/4.0.0": "4.0.0", "./one": "4.0.0",
		filepath.Join(s.Dir, "m", "1.2.0"): "1.2.0", "models/m/1.2.0/model.yaml": "1.2.0",
		"m@7.0.0": "", "none": "", "models/m": "", "models": "", "models/none": "", "one@4.0.0": "", "": "",
	} {
		p, err := s.Resolve(name)
		if want == "" {
			if err == nil {
				t.Errorf("%q is %s %s", name, p.ID, p.Version)
			}
			continue
		}
		c, readErr := p.Contents()
		if err != nil || readErr != nil || c.Version != want {
			t.Errorf("%q: %+v, %v, %v; want %s", name, p.Location, err, readErr, want)
		}
	}
	if _, err := s.Version("none", ""); !errors.Is(err, registry.ErrModelNotFound) {
		t.Errorf("a model that is not there: %v", err)
	}
	names, err := s.Names()
	if err != nil || !slices.IsSorted(names) || !slices.Contains(names, "m") || !slices.Contains(names, "m@2.0.0-rc.1") || len(names) != 3+7 {
		t.Errorf("%q, %v", names, err)
	}
}

// TestPut checks that a version is written once, and that existing files stay.
func TestPut(t *testing.T) {
	s := modelstore.Store{Dir: filepath.Join(t.TempDir(), "models")}
	dir, err := s.Put("m", "1.0.0", map[string][]byte{"model.yaml": []byte("first")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put("m", "1.0.0", map[string][]byte{"model.yaml": []byte("second")}); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("written twice: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "model.yaml")); err != nil || string(text) != "first" {
		t.Errorf("%q, %v", text, err)
	}
	if err := os.Mkdir(filepath.Join(s.Dir, "m", "2.0.0"), 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put("m", "2.0.0", nil); err == nil {
		t.Error("an empty directory was replaced")
	}
}
