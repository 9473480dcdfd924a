// Package crash keeps the Go runtime's output when a host crashes, for the next host
// with the same state directory.
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

// Last is the name of the file with the output of the last host that crashed.
const Last = "crash-last.log"

// Catch makes the Go runtime write its output during a crash to a file in the state
// directory, as well as to standard error. The returned function stops that and
// removes the file.
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
	// Lock the file before it has its final name: another host that starts must not
	// take it for a file of a host that is gone.
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

// reportCrashes logs hosts that have crashed, once each, and keeps the output of the
// last one. Files of running hosts are locked.
func reportCrashes(state string, log *slog.Logger) {
	files, err := filepath.Glob(filepath.Join(state, "crash-*-*.log"))
	if err != nil {
		return // a bad pattern matches nothing
	}
	for _, name := range files {
		if err := reportCrash(name, filepath.Join(state, Last), log); err != nil && !errors.Is(err, fs.ErrNotExist) {
			log.Warn("cannot read the output of a crash", "file", name, "error", err)
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
