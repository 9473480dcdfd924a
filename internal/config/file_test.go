package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestReadWhatIsNoFile checks that no file makes Read wait or take all memory.
func TestReadWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	pipe, link, large := filepath.Join(dir, "pipe"), filepath.Join(dir, "link"), filepath.Join(dir, "large")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(pipe, link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(large, []byte("# "+strings.Repeat("x", mostBytes)), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		pipe: "is a named pipe: give a file", link: "is a named pipe: give a file", large: "is larger than 4 MiB", "/dev/zero": "is larger than 4 MiB",
		dir: "is a directory", filepath.Join(dir, "none"): "no such file",
	} {
		if _, err := Read(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("server: {port: 4444}\n"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err := Read(fmt.Sprintf("/dev/fd/%d", r.Fd())); err != nil || c.Server.Port != 4444 {
		t.Errorf("a pipe of this process: %+v, %v", c, err)
	}
}
