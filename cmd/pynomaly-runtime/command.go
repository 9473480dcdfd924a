package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "0.1.0-dev"

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

func newCommand(in io.Reader, out, errs io.Writer) *cobra.Command {
	s := streams{in, out, errs}
	root := &cobra.Command{
		Use:           "pynomaly-runtime",
		Short:         "Serve anomaly detectors: ONNX graphs and WASM plugins behind REST and WebSocket",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
	}
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	deploy := &cobra.Command{Use: "deploy", Short: "Serve models; roll them out"}
	deploy.AddCommand(serveCommand(s))
	commands := deployCommands(s)
	deploy.AddCommand(commands...)
	shorten(deploy, commands)
	root.AddCommand(serveCommand(s), deploy, predictCommand(s), modelCommand(s), pluginCommand(s), versionCommand(s))
	root.AddCommand(controllerCommands(s)...)
	return root
}

// shorten lets `deploy <model>` stand for `deploy deploy <model>`.
func shorten(deploy *cobra.Command, commands []*cobra.Command) {
	for _, c := range commands {
		if c.Name() != deploy.Name() {
			continue
		}
		deploy.Flags().AddFlagSet(c.Flags())
		deploy.Args = cobra.MaximumNArgs(1)
		deploy.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return c.RunE(cmd, args)
		}
	}
}

func versionCommand(s streams) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			revision := ""
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, kv := range info.Settings {
					if kv.Key == "vcs.revision" {
						revision = " " + kv.Value
					}
				}
			}
			_, err := fmt.Fprintf(s.out, "pynomaly-runtime %s%s (%s, %s/%s)\n", version, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
