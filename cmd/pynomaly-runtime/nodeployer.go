//go:build nodeployer

package main

import "github.com/spf13/cobra"

func controllerCommands(streams) []*cobra.Command { return nil }

func deployCommands(streams) []*cobra.Command { return nil }
