package main

import "github.com/spf13/cobra"

func predictCommand(streams) *cobra.Command { return &cobra.Command{Use: "predict"} }
func modelCommand(streams) *cobra.Command   { return &cobra.Command{Use: "model"} }
