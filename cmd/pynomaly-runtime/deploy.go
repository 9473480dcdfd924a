//go:build !nodeployer

package main

import "github.com/spf13/cobra"

func controllerCommands(s streams) []*cobra.Command { return []*cobra.Command{controllerCommand(s)} }

func deployCommands(streams) []*cobra.Command { return nil }
