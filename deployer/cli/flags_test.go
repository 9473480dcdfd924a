package cli

import (
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// TestFlagsFirst checks that commands refuse flags and ids before they ask for a cluster,
// of which there is none here, and that they ask for it if all is well.
func TestFlagsFirst(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	backup := filepath.Join(t.TempDir(), "backup.yaml")
	for line, says := range map[string]string{
		"deploy m --output xml":                                "--output",
		"deploy m@1.0.0 --strategy canaries":                   "--strategy",
		"deploy m@1.0.0 --image-pull-policy Sometimes":         "--image-pull-policy",
		"deploy m@1.0.0 --steps 50,10":                         "must not fall",
		"deploy m@1.0.0 --memory-limit many":                   "quantity",
		"deploy m@1.0.0 --digest abc":                          "--digest",
		"deploy m@1.0.0 --hostname a/b":                        "--hostname",
		"deploy m@ --strategy canary":                          "version",
		"deploy m@1.0.0 --timeout 0s":                          "--timeout",
		"list --status serving":                                "--status",
		"list --output xml":                                    "--output",
		"status m":                                             "not a deployment id",
		"status m-production-1 -o xml":                         "--output",
		"rollback m-production-0":                              "not a deployment id",
		"promote m-staging-1 --timeout -1m":                    "--timeout",
		"approve m-production-1 --digest x":                    "--digest",
		"environments -o xml":                                  "--output",
		"pause m":                                              "not a deployment id",
		"resume m":                                             "not a deployment id",
		"abort m":                                              "not a deployment id",
		"history m":                                            "not a deployment id",
		"events m":                                             "not a deployment id",
		"show m":                                               "not a deployment id",
		"diff m-production-1 m":                                "not a deployment id",
		"install --image-pull-policy Sometimes":                "Sometimes",
		"restore " + backup:                                    "no such file",
		"deploy m@1.0.0 --strategy canary --steps 10:1s":       "",
		"deploy m --digest sha256:" + strings.Repeat("0a", 32): "",
		"status production/m-production-1 -o yaml":             "",
		"rollback m-production-1 --wait --timeout 1m":          "",
		"diff m-production-1 m-production-2":                   "",
		"approve m-production-1":                               "",
	} {
		err := run(t, strings.Fields(line)...)
		asked := err != nil && strings.Contains(err.Error(), "finding a cluster")
		if asked != (says == "") || err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// run runs a command without a cluster.
func run(t *testing.T, args ...string) error {
	t.Helper()
	root := &cobra.Command{Use: "test", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(Commands(Options{
		Out: io.Discard, Err: io.Discard, Now: time.Now, Image: "registry.example.com/host:1.0.0",
		Resolve: func(string, string, string) (Model, error) { return Model{}, errors.New("no models here") },
	})...)
	root.SetArgs(args)
	return root.ExecuteContext(t.Context())
}
