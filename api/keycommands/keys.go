// Package keycommands has the commands about who may use hosts and who did: key and
// audit.
//
// Packages api/access/keys and api/audit have the file of keys and the audit.
package keycommands

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/api/access/keys"
	"github.com/pynomaly/pynomaly-runtime/internal/commands"
	"github.com/pynomaly/pynomaly-runtime/internal/config"
)

// Streams are the outputs of commands: for results and for messages.
type Streams struct{ Out, Err io.Writer }

// ReadConfig reads a configuration file, or the default one if file is empty.
type ReadConfig func(cmd *cobra.Command, file string) (*config.Config, error)

// Key returns the command key.
func Key(s Streams, read ReadConfig) *cobra.Command {
	return commands.Group(&cobra.Command{Use: "key", Short: "Make, list, revoke and rotate API keys"},
		keyCreate(s, read), keyList(s, read), keyRevoke(s, read), keyRotate(s, read))
}

// keyFiles are the flags that name a file of keys.
type keyFiles struct {
	file, config string
	read         ReadConfig
}

func (f *keyFiles) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "file", "", "file of keys (default: the one of auth.keys)")
	cmd.Flags().StringVar(&f.config, "config", "", "configuration file (default plugins.yaml, if there is one)")
}

// store returns the file of keys.
func (f *keyFiles) store(cmd *cobra.Command) (*keys.Store, error) {
	cfg, err := f.read(cmd, f.config)
	if err != nil {
		return nil, err
	}
	file := f.file
	if file == "" {
		file = cfg.Auth.Keys
	}
	if file == "" {
		return nil, fmt.Errorf("no file of keys is named: give --file, or set auth.keys (%sAUTH_KEYS)", config.Prefix)
	}
	roles, err := access.NewRoles(cfg.Auth.Roles)
	if err != nil {
		return nil, fmt.Errorf("auth.roles: %w", err)
	}
	return &keys.Store{File: file, Roles: roles, Now: time.Now, Random: rand.Reader}, nil
}

func keyCreate(s Streams, read ReadConfig) *cobra.Command {
	f := keyFiles{read: read}
	var w keys.Wanted
	var models, expires string
	cmd := &cobra.Command{
		Use: "create --role <role>", Short: "Make an API key and print it, once", Args: cobra.NoArgs,
		Long: "Make an API key and print it. The file of keys, which is made if it does not exist, has only the key's SHA-256: the key itself is shown only this once. A host that follows the file accepts the key within 2 s.",
		Example: "  pynomaly-runtime key create --role viewer --file keys.yaml\n" +
			"  pynomaly-runtime key create --role operator --file keys.yaml --name ci --models 'fraud*,cardio' --expires 90d",
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := f.store(cmd)
			if err != nil {
				return err
			}
			if w.Lifetime, err = parseLifetime(expires); err != nil {
				return fmt.Errorf("--expires: %w", err)
			}
			if cmd.Flags().Changed("models") {
				w.Models = splitNames(models)
				if len(w.Models) == 0 {
					return errors.New("--models is empty: leave it out for every model")
				}
			}
			key, made, err := store.Create(cmd.Context(), w)
			if err != nil {
				return err
			}
			return printKey(s, store.File, key, made)
		},
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&w.Role, "role", "", "viewer, operator, admin, controller or a role of auth.roles")
	cmd.Flags().StringVar(&w.Name, "name", "", "description of the key for people")
	cmd.Flags().StringVar(&models, "models", "", "ids of the models that the key may use, with * and ?, separated by commas (default: all)")
	cmd.Flags().StringVar(&expires, "expires", "", "how long the key is valid, such as 12h or 90d (default: until it is revoked)")
	_ = cmd.MarkFlagRequired("role")
	return cmd
}

// printKey prints a new key on standard output, and its description on standard
// error.
func printKey(s Streams, file, key string, made keys.Entry) error {
	until := "until it is revoked"
	if !made.Expires.IsZero() {
		until = "until " + made.Expires.Format(time.RFC3339)
	}
	fmt.Fprintf(s.Err, "key %s, role %s, valid %s, in %s; it is shown only this once:\n", made.ID, made.Role, until, file)
	_, err := fmt.Fprintln(s.Out, key)
	return err
}

func keyList(s Streams, read ReadConfig) *cobra.Command {
	f := keyFiles{read: read}
	cmd := &cobra.Command{
		Use: "list", Short: "List the API keys, without their secrets", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := f.store(cmd)
			if err != nil {
				return err
			}
			all, err := store.List()
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(s.Out, 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tSTATUS\tROLE\tMODELS\tCREATED\tEXPIRES\tNAME")
			for _, e := range all {
				models := "*"
				if e.Models != nil {
					models = strings.Join(e.Models, ",")
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.ID, e.Status(time.Now()), e.Role, models, timeOrDash(e.Created), timeOrDash(e.Expires), e.Name)
			}
			return w.Flush()
		},
	}
	f.flags(cmd)
	return cmd
}

func timeOrDash(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(time.RFC3339)
}

func keyRevoke(s Streams, read ReadConfig) *cobra.Command {
	f := keyFiles{read: read}
	cmd := &cobra.Command{
		Use: "revoke <id>", Short: "Make an API key invalid", Args: cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := f.store(cmd)
			if err != nil {
				return err
			}
			revoked, err := store.Revoke(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.Out, "key %s was revoked at %s: hosts that follow %s refuse it within 2 s\n", revoked.ID, revoked.Revoked.Format(time.RFC3339), store.File)
			return err
		},
	}
	f.flags(cmd)
	return cmd
}

func keyRotate(s Streams, read ReadConfig) *cobra.Command {
	f := keyFiles{read: read}
	var overlap string
	cmd := &cobra.Command{
		Use: "rotate <id>", Short: "Replace an API key by a new one, and print it, once", Args: cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		Long: "Make an API key with the rights of another one, and print it. The other key expires after --overlap: by then its users must have the new key.",
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := f.store(cmd)
			if err != nil {
				return err
			}
			lasts, err := parseLifetime(overlap)
			if err != nil {
				return fmt.Errorf("--overlap: %w", err)
			}
			key, made, err := store.Rotate(cmd.Context(), args[0], lasts)
			if err != nil {
				return err
			}
			return printKey(s, store.File, key, made)
		},
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&overlap, "overlap", "24h", "how long the other key stays valid, such as 0, 12h or 7d")
	return cmd
}

// maxLifetime is the longest lifetime of a key.
const maxLifetime = 100 * 365 * 24 * time.Hour

// parseLifetime parses a duration, which may be in days (90d). Empty means 0.
func parseLifetime(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		if n, err = strconv.Atoi(days); err == nil && n <= int(maxLifetime/(24*time.Hour)) {
			d = time.Duration(n) * 24 * time.Hour
		}
	}
	if err != nil || d < 0 || d > maxLifetime || d == 0 && strings.Trim(text, "0smhd") != "" {
		return 0, fmt.Errorf("%q is not a duration: write for example 12h or 90d", text)
	}
	return d, nil
}

// splitNames splits names that commas separate.
func splitNames(text string) []string {
	var out []string
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name != "" {
			out = append(out, name)
		}
	}
	return out
}
