package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/api/keycommands"
	"github.com/pynomaly/pynomaly-runtime/internal/commands"
	"github.com/pynomaly/pynomaly-runtime/internal/printable"
)

// The linker sets version.
var version = "0.1.0-dev"

// streams are a command's input and outputs. out and err remove control characters
// from texts. raw is for data and for logs, which escape such characters themselves.
type streams struct {
	in       io.Reader
	out, err io.Writer
	raw      rawStreams
}

type rawStreams struct{ out, err io.Writer }

func newCommand(in io.Reader, out, errs io.Writer) *cobra.Command {
	s := streams{in, printable.Writer(out), printable.Writer(errs), rawStreams{out, errs}}
	root := &cobra.Command{
		Use:           "pynomaly-runtime",
		Short:         "Serve anomaly detectors: ONNX graphs and plugins over REST and WebSocket",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,

		SuggestionsMinimumDistance: commands.Nearby,
	}
	root.SetIn(in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	below := deployCommands(s)
	deploy := commands.Group(&cobra.Command{Use: "deploy", Short: "Serve models, or roll them out on Kubernetes"}, append(below, serveCommand(s))...)
	shorten(deploy, below)
	of := keycommands.Streams{Out: s.out, Err: s.err}
	root.AddCommand(serveCommand(s), deploy, predictCommand(s), modelCommand(s), pluginCommand(s), keycommands.Key(of, serveConfig), keycommands.Audit(of), versionCommand(s))
	root.AddCommand(controllerCommands(s)...)
	commands.StrictHelp(root)
	commands.CompleteValues(root)
	return root
}

// shorten makes `deploy <model>` mean `deploy deploy <model>`. A word that resembles
// a command's name and is not a model in the models directory is an error, and never
// reaches the cluster.
func shorten(deploy *cobra.Command, below []*cobra.Command) {
	for _, c := range below {
		if c.Name() != deploy.Name() {
			continue
		}
		deploy.Flags().AddFlagSet(c.Flags())
		deploy.Args = cobra.MaximumNArgs(1)
		deploy.ValidArgsFunction = c.ValidArgsFunction
		deploy.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 && !slices.Contains(modelsFor(cmd), args[0]) {
				return fmt.Errorf("%w If it is a model: %s deploy %s", commands.Unknown(cmd, args[0]), cmd.CommandPath(), args[0])
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
