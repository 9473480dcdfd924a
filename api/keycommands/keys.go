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

// Place is where a command finds the keys.
type Place interface {
	// Flags adds the flags that name the place.
	Flags(cmd *cobra.Command)
	// Store returns the keys there.
	Store(cmd *cobra.Command) (*keys.Store, error)
	// Changed is called after a change. It returns when hosts take it up, such as
	// "within 2 s".
	Changed(cmd *cobra.Command) string
	// Replace replaces a key whose user is not a person, and reports whether id is
	// such a key.
	Replace(cmd *cobra.Command, store *keys.Store, id string, overlap time.Duration) (made keys.Entry, ok bool, err error)
	// Examples returns examples of the command create.
	Examples() string
}

// Key returns the command key for keys in files.
func Key(s Streams, read ReadConfig) *cobra.Command {
	return In(s, "Make, list, revoke and rotate API keys", func() Place { return &keyFiles{read: read} })
}

// In returns the command key for keys in another place. Each subcommand gets a place of
// its own.
func In(s Streams, short string, place func() Place) *cobra.Command {
	return commands.Group(&cobra.Command{Use: "key", Short: short}, keyCreate(s, place()), keyList(s, place()), keyRevoke(s, place()), keyRotate(s, place()))
}

// keyFiles are the flags that name a file of keys.
type keyFiles struct {
	file, config string
	read         ReadConfig
}

// Flags implements Place.
func (f *keyFiles) Flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "file", "", "file of keys (default: the one of auth.keys)")
	cmd.Flags().StringVar(&f.config, "config", "", "configuration file (default plugins.yaml, if there is one)")
}

// Changed implements Place.
func (f *keyFiles) Changed(*cobra.Command) string { return "within 2 s" }

// Replace implements Place.
func (f *keyFiles) Replace(*cobra.Command, *keys.Store, string, time.Duration) (made keys.Entry, ok bool, err error) {
	return made, false, nil
}

// Examples implements Place.
func (f *keyFiles) Examples() string {
	return "  pynomaly-runtime key create --role viewer --file keys.yaml\n" +
		"  pynomaly-runtime key create --role operator --file keys.yaml --name ci --models 'fraud*,cardio' --expires 90d"
}

// Store implements Place.
func (f *keyFiles) Store(cmd *cobra.Command) (*keys.Store, error) {
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

func keyCreate(s Streams, f Place) *cobra.Command {
	var w keys.Wanted
	var models, expires string
	cmd := &cobra.Command{
		Use: "create --role <role>", Short: "Make an API key and print it, once", Args: cobra.NoArgs,
		Long:    "Make an API key and print it. The file of keys, which is made if it does not exist, has only the key's SHA-256: the key itself is shown only this once.",
		Example: f.Examples(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := f.Store(cmd)
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
			return printKey(s, store.File, key, made, f.Changed(cmd))
		},
	}
	f.Flags(cmd)
	cmd.Flags().StringVar(&w.Role, "role", "", "viewer, operator, admin, controller or a role of auth.roles")
	cmd.Flags().StringVar(&w.Name, "name", "", "description of the key for people")
	cmd.Flags().StringVar(&models, "models", "", "ids of the models that the key may use, with * and ?, separated by commas (default: all)")
	cmd.Flags().StringVar(&expires, "expires", "", "how long the key is valid, such as 12h or 90d (default: until it is revoked)")
	_ = cmd.MarkFlagRequired("role")
	return cmd
}

// printKey prints a new key on standard output, and its description on standard
// error.
func printKey(s Streams, file, key string, made keys.Entry, soon string) error {
	until := "until it is revoked"
	if !made.Expires.IsZero() {
		until = "until " + made.Expires.Format(time.RFC3339)
	}
	fmt.Fprintf(s.Err, "key %s, role %s, valid %s, in %s; hosts that follow it accept the key %s; it is shown only this once:\n", made.ID, made.Role, until, file, soon)
	_, err := fmt.Fprintln(s.Out, key)
	return err
}

func keyList(s Streams, f Place) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List the API keys, without their secrets", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := f.Store(cmd)
			if err != nil {
				return err
			}
			all, err := store.List(cmd.Context())
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
	f.Flags(cmd)
	return cmd
}

func timeOrDash(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(time.RFC3339)
}

func keyRevoke(s Streams, f Place) *cobra.Command {
	cmd := &cobra.Command{
		Use: "revoke <id>", Short: "Make an API key invalid", Args: cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := f.Store(cmd)
			if err != nil {
				return err
			}
			revoked, err := store.Revoke(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.Out, "key %s was revoked at %s: hosts that follow %s refuse it %s\n", revoked.ID, revoked.Revoked.Format(time.RFC3339), store.File, f.Changed(cmd))
			return err
		},
	}
	f.Flags(cmd)
	return cmd
}

func keyRotate(s Streams, f Place) *cobra.Command {
	var overlap string
	cmd := &cobra.Command{
		Use: "rotate <id>", Short: "Replace an API key by a new one, and print it, once", Args: cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		Long: "Make an API key with the rights of another one, and print it. The other key expires after --overlap: by then its users must have the new key.",
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := f.Store(cmd)
			if err != nil {
				return err
			}
			lasts, err := parseLifetime(overlap)
			if err != nil {
				return fmt.Errorf("--overlap: %w", err)
			}
			if made, ok, err := f.Replace(cmd, store, args[0], lasts); ok || err != nil {
				if err == nil {
					_, err = fmt.Fprintf(s.Out, "key %s, role %s, takes the place of %s: hosts that follow %s accept it %s\n", made.ID, made.Role, args[0], store.File, f.Changed(cmd))
				}
				return err
			}
			key, made, err := store.Rotate(cmd.Context(), args[0], lasts)
			if err != nil {
				return err
			}
			return printKey(s, store.File, key, made, f.Changed(cmd))
		},
	}
	f.Flags(cmd)
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
