package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/oci"
)

// registryFlags are those of commands that speak to a registry.
func registryFlags(cmd *cobra.Command, o *oci.Options) {
	o.UserAgent = "pynomaly-runtime/" + version
	cmd.Flags().BoolVar(&o.PlainHTTP, "plain-http", false, "speak HTTP to the registry, without TLS, credentials included")
	cmd.Flags().StringSliceVar(&o.AuthHosts, "registry-auth-host", nil, "<host>[:<port>] that the registry's credentials may be sent to for a token, beside its own")
	cmd.Flags().StringVar(&o.Config, "registry-config", "", "file with credentials in the form of docker's config.json (default: docker's own)")
}

func modelPush(s streams) *cobra.Command {
	var o oci.Options
	cmd := &cobra.Command{
		Use: "push <model> <registry>/<repository>[:<tag>]", Short: "Store a model in an OCI registry; the tag is its version unless one is given", Args: cobra.ExactArgs(2), ValidArgsFunction: completeModels,
		Long: "Store a model in an OCI registry. The model is a directory, or <id>[@<version>] below --models. Prints the reference by digest.",
		Example: "  pynomaly-runtime model push models/cardio/1.0.0 registry.example.com/models/cardio\n" +
			"  pynomaly-runtime model push cardio@1.0.0 registry.example.com/models/cardio:stable",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := readConfig(cmd, "")
			if err != nil {
				return err
			}
			reference, c, err := store(cfg).Push(cmd.Context(), args[0], args[1], o)
			if err != nil {
				return err
			}
			fmt.Fprintf(s.err, "%s@%s, content digest %s\n", c.ID, c.Version, c.Digest)
			_, err = fmt.Fprintln(s.out, reference)
			return err
		},
	}
	registryFlags(cmd, &o)
	config.AddFlags(cmd.Flags(), "models")
	return cmd
}

func modelPull(s streams) *cobra.Command {
	var o oci.Options
	var want modelstore.Expected
	cmd := &cobra.Command{
		Use: "pull <registry>/<repository>:<tag>|@<digest>", Short: "Fetch a model from an OCI registry into the models directory", Args: cobra.ExactArgs(1),
		Long: "Fetch a model from an OCI registry. It appears in the models directory as <id>/<version> at once and whole, or not at all.",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := readConfig(cmd, "")
			if err != nil {
				return err
			}
			path, c, err := store(cfg).Pull(cmd.Context(), args[0], want, o)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.out, "%s: %s@%s, content digest %s\n", path, c.ID, c.Version, c.Digest)
			return err
		},
	}
	registryFlags(cmd, &o)
	cmd.Flags().StringVar(&want.Digest, "digest", "", "content digest that the model must have")
	cmd.Flags().StringVar(&want.Name, "expect", "", "<id>@<version> that it must be")
	config.AddFlags(cmd.Flags(), "models")
	return cmd
}
