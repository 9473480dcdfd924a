package offline

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// write writes a text to an output, or begins to.
func write(t *testing.T, name string, commit bool) {
	t.Helper()
	out, err := create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(out, "new"); err != nil {
		t.Fatal(err)
	}
	end := out.Discard
	if commit {
		end = out.Commit
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
}

func TestOutputs(t *testing.T) {
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	holds := func(name, text string, mode os.FileMode) {
		t.Helper()
		got, err := os.ReadFile(at(name))
		info, statErr := os.Stat(at(name))
		if err != nil || statErr != nil || string(got) != text || info.Mode().Perm() != mode {
			t.Errorf("%s is %q, %v, %v", name, got, info, err)
		}
	}
	write(t, at("fresh"), true)
	holds("fresh", "new", 0o640)
	if err := os.WriteFile(at("kept"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, at("kept"), false)
	holds("kept", "old", 0o600)
	write(t, at("kept"), true)
	holds("kept", "new", 0o600)

	for link, to := range map[string]string{"link": "kept", "dangling": "made", "chain": "link"} {
		if err := os.Symlink(to, at(link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(at("kept"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, at("chain"), true)
	holds("kept", "new", 0o600)
	write(t, at("dangling"), true)
	holds("made", "new", 0o640)
	for _, link := range []string{"link", "dangling", "chain"} {
		if _, err := os.Readlink(at(link)); err != nil {
			t.Errorf("%s is no link any more", link)
		}
	}
	if err := os.Symlink("loop", at("loop")); err != nil {
		t.Fatal(err)
	}
	if _, err := create(at("loop")); err == nil {
		t.Error("a link to itself can be written")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 7 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// TestOutputStraight checks that pipes, devices and open files are written to, and not
// replaced.
func TestOutputStraight(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	go func() {
		text, err := os.ReadFile(pipe)
		if err != nil {
			text = []byte(err.Error())
		}
		got <- string(text)
	}()
	write(t, pipe, true)
	if text := <-got; text != "new" {
		t.Errorf("the pipe's reader got %q", text)
	}
	if info, err := os.Stat(pipe); err != nil || info.Mode().IsRegular() {
		t.Errorf("the pipe is %v, %v", info, err)
	}
	write(t, "/dev/null", true)
}
