// Package commands makes command lines strict: an unknown command is an error that
// names the command that may have been meant.
package commands

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Nearby is the largest edit distance at which a word is taken for a misspelt
// command.
const Nearby = 2

// Group makes cmd a command that only has subcommands. Any other word is an error,
// not a request for help.
func Group(cmd *cobra.Command, below ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(below...)
	cmd.SuggestionsMinimumDistance = Nearby
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return Unknown(cmd, args[0])
	}
	return cmd
}

// Unknown returns the error for a word that is not a subcommand of cmd.
func Unknown(cmd *cobra.Command, word string) error {
	hint := ""
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		hint = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return fmt.Errorf("unknown command %q for %q%s", word, cmd.CommandPath(), hint)
}

// StrictHelp makes the commands that cobra adds refuse unknown names.
func StrictHelp(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "completion":
			Group(c)
		case "help":
			c.Run = nil
			c.RunE = func(_ *cobra.Command, args []string) error {
				about, rest, err := root.Find(args)
				if err != nil {
					return err
				}
				if len(rest) > 0 {
					return Unknown(about, rest[0])
				}
				about.InitDefaultHelpFlag()
				return about.Help()
			}
		}
	}
}
