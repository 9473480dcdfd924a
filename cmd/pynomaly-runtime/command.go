package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/internal/printable"
)

// version is set by the linker.
var version = "0.1.0-dev"

// streams are where a command reads and writes. Texts go to out and err, which keep
// what a terminal would obey away from it; raw is for data and for logs, which see to
// that themselves.
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
		Short:         "Serve anomaly detectors: ONNX graphs and WASM plugins behind REST and WebSocket",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,

		SuggestionsMinimumDistance: nearby,
	}
	root.SetIn(in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	commands := deployCommands(s)
	deploy := group(&cobra.Command{Use: "deploy", Short: "Serve models; roll them out"}, append(commands, serveCommand(s))...)
	shorten(deploy, commands)
	root.AddCommand(serveCommand(s), deploy, predictCommand(s), modelCommand(s), pluginCommand(s), versionCommand(s))
	root.AddCommand(controllerCommands(s)...)
	strictHelp(root)
	completeValues(root)
	return root
}

// strictHelp makes what cobra adds refuse names that it does not know.
func strictHelp(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "completion":
			group(c)
		case "help":
			c.Run = nil
			c.RunE = func(_ *cobra.Command, args []string) error {
				about, rest, err := root.Find(args)
				if err != nil {
					return err
				}
				if len(rest) > 0 {
					return unknownCommand(about, rest[0])
				}
				about.InitDefaultHelpFlag()
				return about.Help()
			}
		}
	}
}

// nearby is how many letters a word may differ in from a command's name to be taken
// for a slip.
const nearby = 2

// group makes cmd a command that only has others below it. What is none of them is an
// error, and not a question for help.
func group(cmd *cobra.Command, below ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(below...)
	cmd.SuggestionsMinimumDistance = nearby
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return unknownCommand(cmd, args[0])
	}
	return cmd
}

func unknownCommand(cmd *cobra.Command, word string) error {
	hint := ""
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		hint = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return fmt.Errorf("unknown command %q for %q%s", word, cmd.CommandPath(), hint)
}

// shorten lets `deploy <model>` stand for `deploy deploy <model>`. A word near a
// command's name that is no model in the models directory is a slip, which must not
// reach the cluster.
func shorten(deploy *cobra.Command, commands []*cobra.Command) {
	for _, c := range commands {
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
				return fmt.Errorf("%w If it is a model: %s deploy %s", unknownCommand(cmd, args[0]), cmd.CommandPath(), args[0])
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
