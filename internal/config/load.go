package config

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
)

// Load reads a file, if one is named, over the defaults, and lays the environment and the
// flags over it. It looks for no file by itself: a command is run in whatever directory,
// and the configuration names libraries that are loaded and programs that are run.
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

// State is the directory where the host remembers things: the configured directory, else
// the user's; empty where that cannot be written.
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
			log.Warn("there is no state directory: nothing outlives this host", "error", err)
			return "", nil
		}
		base = filepath.Join(home, ".local", "state")
	}
	dir := filepath.Join(base, "pynomaly-runtime")
	if err := writable(dir); err != nil {
		log.Warn("the state directory cannot be written: nothing outlives this host; state_dir names another", "directory", dir, "error", err)
		return "", nil
	}
	return dir, nil
}

// writable makes a directory, and a file in it.
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
