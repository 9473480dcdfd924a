package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/oci"
)

// registryFlags adds the flags of commands that use a registry.
func registryFlags(cmd *cobra.Command, o *oci.Options) {
	o.UserAgent = "pynomaly-runtime/" + version
	cmd.Flags().BoolVar(&o.PlainHTTP, "plain-http", false, "use HTTP without TLS for the registry, even for credentials")
	cmd.Flags().StringSliceVar(&o.AuthHosts, "registry-auth-host", nil, "<host>[:<port>] that may also receive the registry's credentials in exchange for a token")
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
		Long: "Fetch a model from an OCI registry. It appears in the models directory as <id>/<version> when it is complete, or not at all.",
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
	cmd.Flags().StringVar(&want.Name, "expect", "", "<id>@<version> that the model must be")
	config.AddFlags(cmd.Flags(), "models")
	return cmd
}
