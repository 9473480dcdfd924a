//go:build !nodeployer

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/deployer/cli"
	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
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

// resolve finds a model in a directory of models.
func resolve(dir, id, version string) (cli.Model, error) {
	p, err := modelstore.Store{Dir: dir}.Version(id, version)
	if err != nil {
		return cli.Model{}, err
	}
	digest, err := p.ContentDigest()
	if err != nil {
		return cli.Model{}, err
	}
	m, _, err := p.Inspect(context.Background(), nil)
	if err != nil {
		return cli.Model{}, err
	}
	return cli.Model{Version: p.Version, Digest: digest, Stateful: m.Stateful}, nil
}
