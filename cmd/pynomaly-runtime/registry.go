package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/oci"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	host "github.com/pynomaly/pynomaly-runtime/runtime"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
)

// registryFlags are those of commands that speak to a registry.
func registryFlags(cmd *cobra.Command, o *oci.Options) {
	o.UserAgent = "pynomaly-runtime/" + version
	cmd.Flags().BoolVar(&o.PlainHTTP, "plain-http", false, "speak HTTP to the registry, without TLS, credentials included")
	cmd.Flags().StringSliceVar(&o.AuthHosts, "registry-auth-host", nil, "<host>[:<port>] that the registry's credentials may be sent to for a token, beside its own")
	cmd.Flags().StringVar(&o.Config, "registry-config", "", "file with credentials in the form of docker's config.json (default: docker's own)")
}

func modelPush(s streams) *cobra.Command {
	var o oci.Options
	cmd := &cobra.Command{
		Use: "push <model> <registry>/<repository>[:<tag>]", Short: "Store a model in an OCI registry; the tag is its version unless one is given", Args: cobra.ExactArgs(2), ValidArgsFunction: completeModels,
		Long: "Store a model in an OCI registry. The model is a directory, or <id>[@<version>] below --models. Prints the reference by digest.",
		Example: "  pynomaly-runtime model push models/cardio/1.0.0 registry.example.com/models/cardio\n" +
			"  pynomaly-runtime model push cardio@1.0.0 registry.example.com/models/cardio:stable",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := readConfig(cmd, "")
			if err != nil {
				return err
			}
			p, err := placeOf(args[0], cfg.Models.Dir)
			if err != nil {
				return err
			}
			c, err := p.Contents()
			if err != nil {
				return err
			}
			reference, err := oci.Push(cmd.Context(), args[1], &oci.Model{ID: c.ID, Version: c.Version, Digest: c.Digest, Files: c.Files}, o)
			if err != nil {
				return err
			}
			fmt.Fprintf(s.err, "%s@%s, content digest %s\n", c.ID, c.Version, c.Digest)
			_, err = fmt.Fprintln(s.out, reference)
			return err
		},
	}
	registryFlags(cmd, &o)
	config.AddFlags(cmd.Flags(), "models")
	return cmd
}

// placeOf finds one model: a path, or <id>[@<version>] in a directory of models.
func placeOf(name, models string) (host.Place, error) {
	id, version, _ := strings.Cut(name, "@")
	path := name
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) && manifest.ValidID(id) {
		path = models
	}
	all, err := host.Find(path)
	switch {
	case err != nil:
		return host.Place{}, err
	case path != name:
		return host.Newest(all, id, version)
	case len(all) > 1:
		return host.Place{}, fmt.Errorf("%s holds %d models: name the directory of one version", name, len(all))
	}
	return all[0], nil
}

func modelPull(s streams) *cobra.Command {
	var o oci.Options
	var digest, expect string
	cmd := &cobra.Command{
		Use: "pull <registry>/<repository>:<tag>|@<digest>", Short: "Fetch a model from an OCI registry into the models directory", Args: cobra.ExactArgs(1),
		Long: "Fetch a model from an OCI registry. It appears in the models directory as <id>/<version> at once and whole, or not at all.",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := readConfig(cmd, "")
			if err != nil {
				return err
			}
			path, c, err := pull(cmd.Context(), args[0], cfg.Models.Dir, expect, digest, o)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.out, "%s: %s@%s, content digest %s\n", path, c.ID, c.Version, c.Digest)
			return err
		},
	}
	registryFlags(cmd, &o)
	cmd.Flags().StringVar(&digest, "digest", "", "content digest that the model must have")
	cmd.Flags().StringVar(&expect, "expect", "", "<id>@<version> that it must be")
	config.AddFlags(cmd.Flags(), "models")
	return cmd
}

// pull fetches into a directory beside the models, checks what came, and moves it to its
// place.
func pull(ctx context.Context, reference, models, expect, digest string, o oci.Options) (string, *host.Contents, error) {
	if err := os.MkdirAll(models, 0o755); err != nil { //nolint:gosec // what serves models may be another user
		return "", nil, fmt.Errorf("making the models directory: %w", err)
	}
	temp, done, err := pullDir(models)
	if err != nil {
		return "", nil, fmt.Errorf("making a directory to pull into: %w", err)
	}
	defer done()
	dir := filepath.Join(temp, "model")
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // what serves models may be another user
		return "", nil, fmt.Errorf("making a directory to pull into: %w", err)
	}
	pulled, err := oci.Pull(ctx, reference, dir, o)
	if err != nil {
		return "", nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, manifest.FileName)); err != nil {
		return "", nil, fmt.Errorf("%s has no %s at its top", reference, manifest.FileName)
	}
	all, err := host.Find(dir)
	if err != nil {
		return "", nil, fmt.Errorf("%s is no sound model: %w", reference, err)
	}
	c, err := all[0].Contents()
	switch {
	case err != nil:
		return "", nil, fmt.Errorf("%s is no sound model: %w", reference, err)
	case expect != "" && expect != c.ID+"@"+c.Version:
		return "", nil, fmt.Errorf("%s is %s@%s, not %s", reference, c.ID, c.Version, expect)
	case digest != "" && digest != c.Digest:
		return "", nil, fmt.Errorf("%s has content digest %s, not %s", reference, c.Digest, digest)
	case pulled.Digest != "" && pulled.Digest != c.Digest:
		return "", nil, fmt.Errorf("%s has content digest %s; whoever pushed it said %s", reference, c.Digest, pulled.Digest)
	}
	place := filepath.Join(models, c.ID, c.Version)
	if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil { //nolint:gosec // what serves models may be another user
		return "", nil, fmt.Errorf("making the model's directory: %w", err)
	}
	if err := os.Rename(dir, place); err == nil {
		return place, c, nil
	} else if _, there := os.Stat(place); there != nil {
		return "", nil, fmt.Errorf("moving the model to its place: %w", err)
	}
	if was, err := (host.Place{Dir: models, Location: catalog.Location{ID: c.ID, Version: c.Version, Dir: c.ID + "/" + c.Version}}).ContentDigest(); err != nil || was != c.Digest {
		return "", nil, fmt.Errorf("%s is there and is another model (content digest %s, pulled %s): remove it, or give this one another version", place, was, c.Digest)
	}
	return place, c, nil
}

const pullPrefix = ".pull-" // no id begins so: hosts pass it over

// staleAfter is how old a directory is at least whose pull was killed: locks are not
// seen from other machines.
const staleAfter = time.Hour

// pullDir makes a directory to pull into, and removes old ones of pulls that were killed:
// one that goes on holds a lock on its own.
func pullDir(models string) (dir string, done func(), err error) {
	old, err := filepath.Glob(filepath.Join(models, pullPrefix+"*"))
	if err != nil {
		return "", nil, err
	}
	for _, name := range old {
		if f, err := os.Open(name); err == nil {
			if info, err := f.Stat(); err == nil && time.Since(info.ModTime()) > staleAfter && syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
				_ = os.RemoveAll(name) // it is tidied up the next time, else
			}
			_ = f.Close()
		}
	}
	if dir, err = os.MkdirTemp(models, pullPrefix); err != nil {
		return "", nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return "", nil, errors.Join(err, f.Close(), os.RemoveAll(dir))
	}
	return dir, func() {
		_ = os.RemoveAll(dir) // it is tidied up the next time, else
		_ = f.Close()
	}, nil
}
