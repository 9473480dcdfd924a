package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
	"github.com/pynomaly/pynomaly-runtime/internal/printable"
)

// shownDiff holds the differences of two values, one line per part.
type shownDiff struct {
	Removed []string `json:"removed"`
	Added   []string `json:"added"`
	// Warning says what clients will notice of the rollout.
	Warning string `json:"warning,omitempty"`
	lines   []string
}

// Values that match these need no quotes.
var (
	plainText = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._:/@+=,-]*$`)
	plainKey  = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)
)

// parts returns the values of all fields below v, by path.
func parts(v any) (map[string]string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding a value to compare: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		return nil, fmt.Errorf("decoding a value to compare: %w", err)
	}
	out := map[string]string{}
	collect("", tree, out)
	return out, nil
}

func collect(at string, v any, out map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if !plainKey.MatchString(key) {
				key = strconv.QuoteToASCII(key)
			}
			if at != "" {
				key = at + "." + key
			}
			collect(key, value, out)
		}
	case []any:
		for i, value := range v {
			collect(fmt.Sprintf("%s[%d]", at, i), value, out)
		}
	case string:
		if !plainText.MatchString(v) {
			v = strconv.QuoteToASCII(v)
		}
		out[at] = v
	default:
		out[at] = fmt.Sprint(v)
	}
}

// compare returns the parts in which two values differ.
func compare(before, after any) (shownDiff, error) {
	d := shownDiff{Removed: []string{}, Added: []string{}}
	old, err := parts(before)
	if err != nil {
		return d, err
	}
	now, err := parts(after)
	if err != nil {
		return d, err
	}
	all := slices.AppendSeq(slices.Collect(maps.Keys(old)), maps.Keys(now))
	slices.Sort(all)
	for _, path := range slices.Compact(all) {
		was, had := old[path]
		is, has := now[path]
		if had == has && was == is {
			continue
		}
		if had {
			d.Removed = append(d.Removed, path+": "+was)
			d.lines = append(d.lines, "- "+path+": "+was)
		}
		if has {
			d.Added = append(d.Added, path+": "+is)
			d.lines = append(d.lines, "+ "+path+": "+is)
		}
	}
	return d, nil
}

// write prints the old lines above the new ones.
func (d shownDiff) write(out fmtWriter) error {
	for _, line := range d.lines {
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	if d.Warning != "" {
		_, err := fmt.Fprintln(out, "warning: "+printable.Line(d.Warning))
		return err //nolint:wrapcheck // standard output
	}
	return nil
}

func (a *app) diff() *cobra.Command {
	c := &cobra.Command{
		Use: "diff <deployment-id> [<deployment-id>]", Short: "Show the differences between two deployments, or to what runs", Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			d, err := differences(cmd.Context(), c, args)
			if err != nil {
				return err
			}
			return a.print(d, d.write)
		},
	}
	a.outputs(c)
	return c
}

// differences compares the first deployment with the second, or what runs with the
// only one.
func differences(ctx context.Context, c client.Client, ids []string) (shownDiff, error) {
	var of []v1alpha1.RevisionTemplate
	warning := ""
	for _, id := range ids {
		t, err := find(ctx, c, id)
		if err != nil {
			return shownDiff{}, err
		}
		if len(ids) == 1 {
			stable := t.deployment.Status.Stable
			if stable == "" {
				return shownDiff{}, fmt.Errorf("nothing runs that %s could be compared with", t.id)
			}
			runs, err := recordOf(ctx, c, &t.deployment, stable)
			if err != nil {
				return shownDiff{}, err
			}
			of = append(of, runs.Spec.Template)
			warning = summary(&t.revision, &t.deployment).Warning
		}
		of = append(of, t.revision.Spec.Template)
	}
	d, err := compare(of[0], of[1])
	d.Warning = warning
	return d, err
}
