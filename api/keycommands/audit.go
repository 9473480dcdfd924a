package keycommands

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/api/audit"
	"github.com/pynomaly/pynomaly-runtime/internal/commands"
)

// Audit returns the command audit.
func Audit(s Streams) *cobra.Command {
	return commands.Group(&cobra.Command{Use: "audit", Short: "Check the audits of hosts"}, auditVerify(s))
}

func auditVerify(s Streams) *cobra.Command {
	var last string
	cmd := &cobra.Command{
		Use: "verify <file>...", Short: "Find the first line of an audit that was changed, removed or reordered", Args: cobra.MinimumNArgs(1),
		Long: "Find the first line of an audit that was changed, removed, added or reordered. The files are those of one audit, in any order.\n" +
			"Lines that are missing before the first file or after the last line leave no trace in the others: compare the first number, and give --last a hash that was recorded elsewhere.",
		Example: "  pynomaly-runtime audit verify audit.log*",
		RunE: func(_ *cobra.Command, files []string) error {
			r, err := audit.Verify(files, last)
			if err != nil {
				return err
			}
			if r.Lines == 0 {
				_, err = fmt.Fprintln(s.Out, "there is no line")
				return err
			}
			_, err = fmt.Fprintf(s.Out, "%d lines in order, %d to %d, %d interrupted; the last hash is %s\n", r.Lines, r.First, r.Last, r.Torn, r.Hash)
			return err
		},
	}
	cmd.Flags().StringVar(&last, "last", "", "hash of an earlier last line, which must be in the files")
	return cmd
}
