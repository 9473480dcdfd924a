package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestLibraryIsPinned checks that the script accepts only the library whose SHA-256
// it lists, whatever pip, npm or curl return.
func TestLibraryIsPinned(t *testing.T) {
	work := t.TempDir()
	tools := filepath.Join(work, "tools")
	if err := os.Mkdir(tools, 0o700); err != nil {
		t.Fatal(err)
	}
	given := filepath.Join(work, "given")
	for name, text := range map[string]string{
		"python3": fmt.Sprintf("case $2 in\npip) exit 0 ;;\nzipfile) mkdir -p $5/onnxruntime/capi && cp %s $5/onnxruntime/capi/libonnxruntime.so.1.28.0 ;;\nesac\n", given),
		"npm":     "exit 1\n", "curl": "exit 1\n",
	} {
		if err := os.WriteFile(filepath.Join(tools, name), []byte("#!/bin/sh\n"+text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	library, err := os.ReadFile(testkit.Library())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data  []byte
		taken bool
	}{"the library": {library, true}, "one bit of it is another": {append([]byte{library[0] ^ 1}, library[1:]...), false}, "nothing": {nil, false}} {
		target := filepath.Join(work, strings.ReplaceAll(name, " ", "-"))
		if err := os.WriteFile(given, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), filepath.Join(testkit.Root(), "scripts", "onnxruntime.sh"), target)
		cmd.Env = append(os.Environ(), "PATH="+tools+":/usr/bin:/bin")
		out, err := cmd.CombinedOutput()
		left, _ := filepath.Glob(filepath.Join(target, "*"))
		if (err == nil) != c.taken || (len(left) == 1) != c.taken || strings.Contains(string(out), "unknown sha256") == c.taken {
			t.Errorf("%s: %v, %q: %s", name, err, left, out)
		}
	}
}
