package commands

import (
	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/internal/plugindev"
	"github.com/pynomaly/pynomaly-runtime/internal/table"
)

// choices returns the values of flags that accept one of a few, by the flag's name.
func choices() map[string][]string {
	return map[string][]string{
		"env":               {"development", "staging", "production"},
		"log-level":         {"debug", "info", "warn", "error"},
		"log-format":        {"json", "text"},
		"onnx-forests":      {"auto", "off", "only"},
		"onnx-probe":        {"child", "in_process"},
		"trace-protocol":    {"grpc", "http/protobuf"},
		"format":            {table.CSV, table.NDJSON, table.Parquet},
		"lang":              append(plugindev.Names(false), "python"),
		"strategy":          {"rolling", "blue_green", "canary", "direct"},
		"image-pull-policy": {"Always", "IfNotPresent", "Never"},
		"drain":             {"auto", "0s", "5s"},
		"auth":              {"auto", "on", "off"},
		"role":              {"viewer", "operator", "admin"},
	}
}

// directories returns the flags whose value is a directory.
func directories() []string {
	return []string{"models", "state-dir", "wasm-cache-dir", "detectors", "dir"}
}

// CompleteValues lets shells complete the values of flags of cmd and its
// subcommands.
func CompleteValues(cmd *cobra.Command) {
	for name, values := range choices() {
		if cmd.Flags().Lookup(name) != nil {
			// This fails if the command has a completion already.
			_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	for _, name := range directories() {
		if cmd.Flags().Lookup(name) != nil {
			_ = cmd.MarkFlagDirname(name) // the flag exists
		}
	}
	if cmd.Flags().Lookup("config") != nil {
		_ = cmd.MarkFlagFilename("config", "yaml", "yml") // the flag exists
	}
	for _, c := range cmd.Commands() {
		CompleteValues(c)
	}
}
