package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/plugindev"
	"github.com/pynomaly/pynomaly-runtime/internal/table"
)

// choices are the values of flags that take one of a few, by the flag's name.
func choices() map[string][]string {
	return map[string][]string{
		"env":               {"development", "staging", "production"},
		"log-level":         {"debug", "info", "warn", "error"},
		"log-format":        {"json", "text"},
		"onnx-probe":        {"child", "in_process"},
		"format":            {table.CSV, table.NDJSON, table.Parquet},
		"lang":              append(plugindev.Names(false), "python"),
		"strategy":          {"rolling", "blue_green", "canary", "direct"},
		"image-pull-policy": {"Always", "IfNotPresent", "Never"},
		"drain":             {"auto", "0s", "5s"},
		"auth":              {"auto", "on", "off"},
		"role":              {"viewer", "operator", "admin"},
	}
}

// directories are flags that name one.
func directories() []string {
	return []string{"models", "state-dir", "wasm-cache-dir", "detectors", "dir"}
}

// completeValues lets shells complete the values of flags.
func completeValues(cmd *cobra.Command) {
	for name, values := range choices() {
		if cmd.Flags().Lookup(name) != nil {
			// It fails where the command has its own completion already.
			_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	for _, name := range directories() {
		if cmd.Flags().Lookup(name) != nil {
			_ = cmd.MarkFlagDirname(name) // it is there
		}
	}
	if cmd.Flags().Lookup("config") != nil {
		_ = cmd.MarkFlagFilename("config", "yaml", "yml") // it is there
	}
	for _, c := range cmd.Commands() {
		completeValues(c)
	}
}

// completeModels completes a command's first argument with the models of the models
// directory, and all others with files. A path completes as one.
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

// modelsFor lists the models in a command's models directory, as <id> and as
// <id>@<version>; none where that cannot be read.
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
