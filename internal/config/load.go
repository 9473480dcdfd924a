package config

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/pflag"
)

// Load reads a file, if one is named, and applies the environment and the flags on
// top. It looks for no file without a name: a command may run in any directory, and
// the configuration names libraries that are loaded and programs that are run.
func Load(file string, flags *pflag.FlagSet) (*Config, error) {
	cfg := Default()
	if file != "" {
		var err error
		if cfg, err = Read(file); err != nil {
			return nil, err
		}
	}
	return cfg, cfg.Overlay(flags)
}

// State returns the directory for what the host remembers: the configured one, or
// else the user's. It returns "" if neither can be written.
func (c *Config) State(log *slog.Logger) (string, error) {
	if c.StateDir != "" {
		if err := writable(c.StateDir); err != nil {
			return "", fmt.Errorf("state_dir: %w", err)
		}
		return c.StateDir, nil
	}
	base := os.Getenv("XDG_STATE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			log.Warn("there is no state directory: the host keeps nothing for its next start", "error", err)
			return "", nil
		}
		base = filepath.Join(home, ".local", "state")
	}
	dir := filepath.Join(base, "pynomaly-runtime")
	if err := writable(dir); err != nil {
		log.Warn("the state directory cannot be written: the host keeps nothing for its next start; set state_dir to another directory", "directory", dir, "error", err)
		return "", nil
	}
	return dir, nil
}

// writable creates a directory if necessary, and checks that files can be made in
// it.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".write-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// Snapshots returns the directory below state for the states of stateful models, or
// "" if state is "".
func Snapshots(state string) string {
	if state == "" {
		return ""
	}
	return filepath.Join(state, "snapshots")
}

// Workers returns how many calls may score at the same time: the configured number,
// or one per processor.
func (c *Config) Workers() int {
	if c.Server.Workers > 0 {
		return c.Server.Workers
	}
	return runtime.GOMAXPROCS(0)
}

// validHostName reports whether a text may be the name of a host in a request. Names
// of containers may have _, which DNS does not allow.
func validHostName(name string) bool {
	for part := range strings.SplitSeq(name, ".") {
		if part == "" || len(part) > 63 || part[0] == '-' || part[len(part)-1] == '-' {
			return false
		}
		for _, c := range []byte(part) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return len(name) <= 253
}
