package private_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/private"
)

// base returns a new directory of mode 0700 whose path contains no link.
func base(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err == nil {
		err = os.Chmod(dir, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func mkdir(t *testing.T, dir string, mode os.FileMode) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, mode); err != nil { // whatever umask is
		t.Fatal(err)
	}
}

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

// TestOpen checks that a directory is made and opened where nobody else can replace
// it. The error names what is at fault.
func TestOpen(t *testing.T) {
	for _, c := range []struct {
		name  string
		make  func(t *testing.T, base string)
		open  string
		fault string // below base; empty: it can be opened
	}{
		{"made", func(*testing.T, string) {}, "a/b/c", ""},
		{"there", func(t *testing.T, b string) { mkdir(t, b+"/a", 0o700) }, "a", ""},
		{"parents that others read", func(t *testing.T, b string) { mkdir(t, b+"/a", 0o755) }, "a/b", ""},
		{"parents that nobody lists", func(t *testing.T, b string) {
			mkdir(t, b+"/a", 0o700)
			mkdir(t, b+"/a/b", 0o700)
			chmod(t, b+"/a", 0o311)
		}, "a/b", ""},
		{"sticky", func(t *testing.T, b string) { mkdir(t, b+"/a", os.ModeSticky|0o777) }, "a/b", ""},
		{"dots", func(t *testing.T, b string) { mkdir(t, b+"/a", 0o700) }, "a/./../a/b", ""},
		{"link", func(t *testing.T, b string) { mkdir(t, b+"/a", 0o700); link(t, "a", b+"/l") }, "l/b", ""},
		{"absolute link", func(t *testing.T, b string) { mkdir(t, b+"/a", 0o700); link(t, b+"/a", b+"/l") }, "l/b", ""},
		{"link upwards", func(t *testing.T, b string) {
			mkdir(t, b+"/a", 0o700)
			mkdir(t, b+"/c", 0o700)
			link(t, "../c", b+"/a/l")
		}, "a/l", ""},

		{"read by others", func(t *testing.T, b string) { mkdir(t, b+"/a", 0o755) }, "a", "a"},
		{"written by the group", func(t *testing.T, b string) { mkdir(t, b+"/a", 0o770) }, "a", "a"},
		{"sticky itself", func(t *testing.T, b string) { mkdir(t, b+"/a", os.ModeSticky|0o777) }, "a", "a"},
		{"parent written by the group", func(t *testing.T, b string) { mkdir(t, b+"/a", 0o770) }, "a/b", "a"},
		{"parent written by others", func(t *testing.T, b string) {
			mkdir(t, b+"/a", 0o700)
			mkdir(t, b+"/a/b", 0o702)
			mkdir(t, b+"/a/b/c", 0o700)
		}, "a/b/c/d", "a/b"},
		{"behind a link", func(t *testing.T, b string) {
			mkdir(t, b+"/a", 0o777)
			mkdir(t, b+"/a/b", 0o700)
			link(t, b+"/a/b", b+"/l")
		}, "l/c", "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := base(t)
			c.make(t, dir)
			root, err := private.Open(filepath.Join(dir) + "/" + c.open)
			if c.fault != "" {
				if !errors.Is(err, private.ErrExposed) || !strings.Contains(err.Error(), " "+filepath.Join(dir, c.fault)+" ") {
					t.Fatalf("%v; at fault is %s", err, c.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer closing(t, root)
			if err := root.WriteFile("file", []byte("text"), 0o600); err != nil {
				t.Fatal(err)
			}
			if data, err := os.ReadFile(dir + "/" + c.open + "/file"); err != nil || string(data) != "text" {
				t.Fatalf("%q, %v", data, err)
			}
		})
	}
}

func chmod(t *testing.T, dir string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
}

func closing(t *testing.T, root *os.Root) {
	if err := root.Close(); err != nil {
		t.Error(err)
	}
}

// TestOpenIsOfWhatWasChecked checks that replacing an open directory has no effect
// on its user.
func TestOpenIsOfWhatWasChecked(t *testing.T) {
	dir := base(t)
	root, err := private.Open(dir + "/a")
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, root)
	if err := os.Rename(dir+"/a", dir+"/b"); err != nil {
		t.Fatal(err)
	}
	mkdir(t, dir+"/a", 0o700)
	if err := root.WriteFile("file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir + "/b/file"); err != nil {
		t.Error(err)
	}
}

// TestOpenFails checks paths that are not directories.
func TestOpenFails(t *testing.T) {
	dir := base(t)
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link(t, "loop", dir+"/loop")
	for name, want := range map[string]error{"file": syscall.ENOTDIR, "file/a": syscall.ENOTDIR, "loop": syscall.ELOOP} {
		if _, err := private.Open(dir + "/" + name); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOwners checks that a directory of another user is not private. As root it
// gives directories away. Otherwise it uses directories of root that nobody else may
// enter.
func TestOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		if _, err := private.Open("/"); !errors.Is(err, private.ErrExposed) {
			t.Errorf("/: %v", err)
		}
		return
	}
	const other = 65534
	dir := base(t)
	mkdir(t, dir+"/theirs", 0o755)
	mkdir(t, dir+"/theirs/ours", 0o700)
	mkdir(t, dir+"/sticky", os.ModeSticky|0o777)
	mkdir(t, dir+"/sticky/theirs", 0o700)
	mkdir(t, dir+"/ours", 0o700)
	link(t, "ours", dir+"/link")
	for _, name := range []string{"theirs", "sticky/theirs", "link"} {
		if err := os.Lchown(filepath.Join(dir, name), other, other); err != nil {
			t.Fatal(err)
		}
	}
	for open, fault := range map[string]string{"theirs": "theirs", "theirs/ours": "theirs", "sticky/theirs/a": "sticky/theirs", "link/a": "link"} {
		_, err := private.Open(filepath.Join(dir, open))
		if !errors.Is(err, private.ErrExposed) || !strings.Contains(err.Error(), " "+filepath.Join(dir, fault)+" ") {
			t.Errorf("%s: %v; at fault is %s", open, err, fault)
		}
	}
}

// TestOpenOwn checks that OpenOwn opens this user's directories in any place, and no
// others.
func TestOpenOwn(t *testing.T) {
	open := t.TempDir()
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	own, shared, link := filepath.Join(open, "own"), filepath.Join(open, "shared"), filepath.Join(open, "link")
	for dir, mode := range map[string]os.FileMode{own: 0o700, shared: 0o750} {
		if err := os.Mkdir(dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(own, link); err != nil {
		t.Fatal(err)
	}
	root, err := private.OpenOwn(own)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(root.WriteFile("a", nil, 0o600), root.Close()); err != nil {
		t.Error(err)
	}
	for _, dir := range []string{shared, link, filepath.Join(open, "none"), filepath.Join(own, "a")} {
		if root, err := private.OpenOwn(dir); err == nil {
			t.Errorf("%s was opened", dir)
			_ = root.Close()
		}
	}
}

// TestOpenFile checks that OpenFile opens nothing that another user can have put
// into a directory, and that it does not block.
func TestOpenFile(t *testing.T) {
	dir := base(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.WriteFile(at("own"), []byte("text"), 0o600), syscall.Mkfifo(at("pipe"), 0o600), os.Mkdir(at("directory"), 0o700), os.WriteFile(at("others"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	link(t, "own", at("link"))
	f, err := private.OpenFile(at("own"))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(f); err != nil || string(text) != "text" {
		t.Errorf("%q, %v", text, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	names := []string{"pipe", "directory", "link"}
	if os.Geteuid() == 0 { // only root can give a file away
		if err := os.Chown(at("others"), 12345, -1); err != nil {
			t.Fatal(err)
		}
		names = append(names, "others")
	}
	for _, name := range names {
		if _, err := private.OpenFile(at(name)); !errors.Is(err, private.ErrExposed) || !strings.Contains(err.Error(), at(name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := private.OpenFile(at("none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
