//go:build !nodeployer

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/deployer/cli"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	host "github.com/pynomaly/pynomaly-runtime/runtime"
)

func controllerCommands(s streams) []*cobra.Command { return []*cobra.Command{controllerCommand(s)} }

func deployCommands(s streams) []*cobra.Command {
	all := cli.Commands(cli.Options{
		Out: s.out, Err: s.err, Now: time.Now, Image: "pynomaly-runtime:" + version, Resolve: resolve,
	})
	for _, c := range all {
		run := c.RunE
		if c.Name() == "deploy" {
			c.ValidArgsFunction = completeModels
		}
		c.RunE = func(cmd *cobra.Command, args []string) error {
			err := run(cmd, args)
			var exit *cli.ExitError
			if errors.As(err, &exit) {
				fmt.Fprintln(s.err, "Error:", err)
				return exitError(exit.Code)
			}
			return err
		}
	}
	return all
}

// resolve looks a model up in a directory of models.
func resolve(dir, id, version string) (cli.Model, error) {
	all, err := host.Find(dir)
	if err != nil {
		return cli.Model{}, err
	}
	all = slices.DeleteFunc(all, func(p host.Place) bool { return p.ID != id || (version != "" && p.Version != version) })
	if len(all) == 0 {
		return cli.Model{}, fmt.Errorf("%s has no %s@%s", dir, id, version)
	}
	newest := slices.MaxFunc(all, func(a, b host.Place) int { return manifest.CompareVersions(a.Version, b.Version) })
	digest, err := newest.ContentDigest()
	if err != nil {
		return cli.Model{}, err
	}
	m, _, err := newest.Inspect(context.Background(), nil)
	if err != nil {
		return cli.Model{}, err
	}
	return cli.Model{Version: newest.Version, Digest: digest, Stateful: m.Stateful}, nil
}
