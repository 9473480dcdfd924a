// Package crash keeps what the Go runtime says when a host crashes, for the next host with
// the same state directory.
package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/pynomaly/pynomaly-runtime/internal/private"
)

// Last is the file that keeps what the last host to crash has written.
const Last = "crash-last.log"

// Catch has the Go runtime write what it says when the process crashes to a
// file in the state directory, besides standard error. The returned function ends
// that and removes the file.
func Catch(state string, log *slog.Logger) (func(context.Context) error, error) {
	nothing := func(context.Context) error { return nil }
	if state == "" {
		return nothing, nil
	}
	reportCrashes(state, log)
	f, err := os.CreateTemp(state, fmt.Sprintf(".crash-%d-*", os.Getpid()))
	if err != nil {
		return nothing, fmt.Errorf("making the file for crashes: %w", err)
	}
	// Locked before it is found by its name: another host that starts must not take it
	// for that of a host that is gone.
	name := filepath.Join(state, strings.TrimPrefix(filepath.Base(f.Name()), ".")+".log")
	err = errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), os.Rename(f.Name(), name))
	if err == nil {
		err = debug.SetCrashOutput(f, debug.CrashOptions{})
	}
	if err != nil {
		return nothing, fmt.Errorf("making the file for crashes: %w", errors.Join(err, f.Close(), os.Remove(f.Name())))
	}
	return func(context.Context) error {
		return errors.Join(debug.SetCrashOutput(nil, debug.CrashOptions{}), os.Remove(name), f.Close())
	}, nil
}

// reportCrashes tells of hosts that have crashed, once each, and keeps what the last
// one said. Files of hosts that run are locked.
func reportCrashes(state string, log *slog.Logger) {
	files, err := filepath.Glob(filepath.Join(state, "crash-*-*.log"))
	if err != nil {
		return // a bad pattern: none
	}
	for _, name := range files {
		if err := reportCrash(name, filepath.Join(state, Last), log); err != nil && !errors.Is(err, fs.ErrNotExist) {
			log.Warn("a crash cannot be looked at", "file", name, "error", err)
		}
	}
}

func reportCrash(name, keep string, log *slog.Logger) error {
	f, err := private.OpenFile(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return nil
	} else if err != nil {
		return err
	}
	said := make([]byte, 200)
	n, _ := f.Read(said)
	if n == 0 {
		return os.Remove(name) // it was killed
	}
	first, _, _ := bytes.Cut(said[:n], []byte("\n"))
	if err := os.Rename(name, keep); err != nil {
		return err
	}
	log.Warn("a host with this state directory has crashed", "said", string(first), "file", keep)
	return nil
}
