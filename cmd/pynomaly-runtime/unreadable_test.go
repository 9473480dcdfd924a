package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestModelListUnreadable: `model list` tells a model that is wrong from one that
// cannot be read. It looks as nobody where the test runs as root.
func TestModelListUnreadable(t *testing.T) {
	dir, err := os.MkdirTemp("", "pynomaly-test-*")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	testkit.CopyModel(t, dir, "mammography-gmm", "closed", "1.0.0", nil)
	testkit.CopyModel(t, dir, "mammography-gmm", "good", "1.0.0", nil)
	testkit.CopyModel(t, dir, "mammography-gmm", "wrong", "1.0.0", func(m string) string { return m + "unknown: 1\n" })
	err = filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Chmod(name, 0o755))
	})
	if err != nil {
		t.Fatal(err)
	}
	closed := filepath.Join(dir, "closed", "1.0.0", "model.yaml")
	if err := os.Chmod(closed, 0); err != nil {
		t.Fatal(err)
	}
	stateForTests(t)
	list := func(args ...string) string {
		t.Helper()
		type printed struct {
			out string
			err error
		}
		done := make(chan printed)
		go func() {
			runtime.LockOSThread() // and never unlocked: the thread ends
			if os.Geteuid() == 0 {
				const nobody = 65534
				if _, err := unix.SetfsuidRetUid(nobody); err != nil {
					t.Error(err)
				}
			}
			out, _, err := command(t, nil, append([]string{"model", "list", "--models", dir}, args...)...)
			done <- printed{out, err}
		}()
		p := <-done
		if p.err != nil {
			t.Fatal(p.err)
		}
		return p.out
	}
	var all api.ModelList
	if err := json.Unmarshal([]byte(list("--json")), &all); err != nil {
		t.Fatal(err)
	}
	for n, want := range []string{"surroundings", "", "file"} {
		if got := all.Models[n]; got.Failure != want || (want == "") != (got.Status == "available") {
			t.Errorf("%+v, want failure %q", got, want)
		}
	}
	text := list()
	for _, want := range []string{"unreadable", "available", "failed"} {
		if strings.Count(text, " "+want+" ") != 1 {
			t.Errorf("not one %s in\n%s", want, text)
		}
	}
}
