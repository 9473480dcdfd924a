package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// replacing says whether a deployment replaces a broken version.
type replacing struct{ broken bool }

func (r *replacing) flags(c *cobra.Command) {
	c.Flags().BoolVar(&r.broken, "replace-broken", false, "the running version is broken: the gates do not compare the new one with it, and judge it alone; for this rollout only")
}

// replaces names the revision that replaces a broken one in a deployment, for its rollout
// only.
func (r *replacing) replaces(md *v1alpha1.ModelDeployment) error {
	md.Spec.ReplaceBroken = ""
	if !r.broken {
		return nil
	}
	hash, err := render.Hash(md.Spec.Template)
	if err != nil {
		return fmt.Errorf("naming the revision: %w", err)
	}
	md.Spec.ReplaceBroken = hash
	return nil
}
