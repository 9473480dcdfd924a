package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
)

// completeModels completes a command's first argument with the models of the models
// directory or with a path, and all other arguments with files.
func completeModels(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var out []string
	for _, name := range modelsFor(cmd) {
		if strings.HasPrefix(name, word) && strings.Contains(name, "@") == strings.Contains(word, "@") {
			out = append(out, name)
		}
	}
	return out, cobra.ShellCompDirectiveDefault
}

// modelsFor returns the models in a command's models directory, as <id> and as
// <id>@<version>. It returns none if the directory cannot be read.
func modelsFor(cmd *cobra.Command) []string {
	dir := ""
	if f := cmd.Flags().Lookup("models"); f != nil {
		dir = f.Value.String()
	}
	if f := cmd.Flags().Lookup("config"); f != nil {
		cfg, err := readConfig(cmd, f.Value.String())
		if err != nil {
			return nil
		}
		dir = cfg.Models.Dir
	}
	names, err := modelstore.Store{Dir: dir}.Names()
	if err != nil {
		return nil
	}
	return names
}
