package authoring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Flags adds the flags of Fit and Compare.
func (o *FitOptions) Flags(f *pflag.FlagSet) {
	o.flags = f
	f.StringVar(&o.File, "data", "", "training rows: .csv, .ndjson, .json or .parquet (required)")
	f.StringVar(&o.ID, "id", "", "the model's id (required without --compare)")
	f.StringVar(&o.Version, "version", "1.0.0", "the model's version")
	o.AddFlags(f)
	f.Lookup("missing").Usage = "what replaces missing values: a number, and for " + graphNames() + " also mean or median (default: error, they fail their row)"
	f.StringSliceVar(&o.Categorical, "categorical", nil, graphNames()+": columns of texts; each text becomes a feature")
	f.BoolVar(&o.Graph.Scale, "scale", false, graphNames()+": standardise the features")
	f.IntVar(&o.Graph.Neighbours, "neighbors", 0, "knn, lof: number of neighbours (default 5 for knn, 20 for lof)")
	f.StringVar(&o.Graph.Distance, "distance", o.Graph.Distance, "knn: largest, mean or median distance")
	f.IntVar(&o.Trees, "trees", 0, "hstrees, iforest: number of trees (default 25 for hstrees, 100 for iforest)")
	f.IntVar(&o.Graph.Samples, "samples", o.Graph.Samples, "iforest: training rows of a tree, at most")
	f.Uint64Var(&o.Seed, "seed", o.Seed, "hstrees, iforest: seed of the trees")
	f.StringVar(&o.Detectors, "detectors", "", "folder of the reference detectors' modules (default: plugins beside the binary)")
	f.IntVar(&o.Reference.Bins, "bins", o.Reference.Bins, "hbos: bins of a histogram")
	f.StringVar(&o.Reference.Compat, "compat", "", "hbos: pyod, for PyOD's scores of values on the edges of bins")
	f.IntVar(&o.Reference.Height, "height", o.Reference.Height, "hstrees: height of a tree")
	f.IntVar(&o.Reference.Window, "window", o.Reference.Window, "hstrees: rows of a window")
}

// only says which detectors use a flag that others ignore. Fit itself refuses
// --categorical and --scale.
func only(flag string) []string {
	switch flag {
	case "neighbors":
		return []string{"knn", "lof"}
	case "distance":
		return []string{"knn"}
	case "trees", "seed":
		return []string{"hstrees", "iforest"}
	case "samples":
		return []string{"iforest"}
	case "bins", "compat":
		return []string{"hbos"}
	case "height", "window":
		return []string{"hstrees"}
	}
	return nil
}

// unused returns warnings that name the flags that a detector ignores.
func (o FitOptions) unused(detector string) (warnings []string) {
	if o.flags == nil {
		return nil
	}
	o.flags.Visit(func(f *pflag.Flag) {
		if d := only(f.Name); d != nil && !slices.Contains(d, detector) {
			warnings = append(warnings, fmt.Sprintf("%s ignores --%s, which is for %s", detector, f.Name, strings.Join(d, " and ")))
		}
	})
	return warnings
}

// FitNamed fits the one detector that is named, and says what it wrote. labels are for
// Compare alone.
func (a Author) FitNamed(ctx context.Context, out io.Writer, names []string, labels string, o FitOptions) error {
	if labels != "" {
		return fmt.Errorf("--labels is for --compare: leave the column out of the features with --exclude %s", labels)
	}
	if len(names) != 1 {
		return fmt.Errorf("%d detectors are named: name one, or ask for --compare", len(names))
	}
	d, err := FindDetector(names[0])
	if err != nil {
		return err
	}
	if o.ID == "" {
		return errors.New("--id is missing: name the model")
	}
	made, err := a.Fit(ctx, d, o)
	if err != nil {
		return err
	}
	made.Warnings = append(made.Warnings, o.unused(d.Name)...)
	if k := o.Graph.Neighbours; k >= made.Rows && slices.Contains(only("neighbors"), d.Name) {
		made.Warnings = append(made.Warnings, fmt.Sprintf("--neighbors is %d, and each training row has %d others: all of them are its neighbours", k, made.Rows-1))
	}
	return made.Report(out)
}
