package authoring

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// compared is what Compare finds of a detector.
type compared struct {
	detector Detector
	rows     int
	scores   []float64 // of the training rows
	flagged  int
	fit      time.Duration
	row      time.Duration // of a row in a batch
}

// Compare fits detectors, all if none is named, and prints side by side what share of the
// training rows they flag, how well their rankings agree with the first one's
// (Spearman's correlation), what they cost, and with a column of labels how well they
// separate (AUROC). It writes no version.
func (a Author) Compare(ctx context.Context, out io.Writer, names []string, labels string, o FitOptions) error {
	every := len(names) == 0
	if every {
		names = DetectorNames()
	}
	var truth []bool
	if labels != "" {
		var err error
		if truth, err = readLabels(o.File, labels); err != nil {
			return err
		}
		if !slices.Contains(o.Exclude, labels) {
			o.Exclude = append(o.Exclude, labels)
		}
	}
	o.ID, o.Version = "compared", "1.0.0"
	var all []*compared
	var failed []string
	for _, name := range names {
		d, err := FindDetector(name)
		if err != nil {
			return err
		}
		c, err := a.try(ctx, d, o)
		switch {
		case err == nil:
			all = append(all, c)
		case every && ctx.Err() == nil:
			failed = append(failed, fmt.Sprintf("%s is left out: %v\n", name, err))
		default:
			return fmt.Errorf("fitting %s: %w", name, err)
		}
	}
	if len(all) == 0 {
		return fmt.Errorf("no detector can be fitted: %s", strings.Join(failed, ""))
	}
	if err := printCompared(out, all, truth, o); err != nil {
		return err
	}
	if _, err := io.WriteString(out, strings.Join(failed, "")); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	return nil
}

// try fits a detector and scores the training rows.
func (a Author) try(ctx context.Context, d Detector, o FitOptions) (*compared, error) {
	start := time.Now()
	made, err := a.fit(ctx, d, o)
	if err != nil {
		return nil, err
	}
	defer made.done()
	c := &compared{detector: d, rows: made.rows, scores: made.scores, fit: time.Since(start), flagged: calibrated(made.scores, *made.manifest.Threshold).Flagged}
	train, err := readTraining(o.File, made.model.Schema())
	if err != nil {
		return nil, err
	}
	scores := make([]float64, train.Rows())
	start = time.Now()
	if _, err := made.model.Predict(ctx, train, 1000, scores); err != nil {
		return nil, fmt.Errorf("scoring the training rows: %w", err)
	}
	c.row = time.Since(start) / time.Duration(train.Rows())
	return c, nil
}

func printCompared(out io.Writer, all []*compared, truth []bool, o FitOptions) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	head := "detector\tflagged\tagrees\tfit\ta row"
	if truth != nil {
		head += "\tAUROC (95 % interval)"
	}
	fmt.Fprintln(w, head)
	for _, c := range all {
		fmt.Fprintf(w, "%s\t%d (%.3g %%)\t%.3f\t%v\t%v", c.detector.Name, c.flagged, 100*float64(c.flagged)/float64(len(c.scores)),
			agreement(all[0].scores, c.scores), c.fit.Round(time.Millisecond), c.row.Round(10*time.Nanosecond))
		if truth != nil {
			area, low, high := auroc(c.scores, truth[len(truth)-len(c.scores):])
			fmt.Fprintf(w, "\t%.3f (%.3f to %.3f)", area, low, high)
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	_, err := fmt.Fprintf(out, "%d training rows, --contamination %g; agrees: rank correlation with %s; a row: in a batch, through all of the host but its transport\n",
		all[0].rows, o.Contamination, all[0].detector.Name)
	if err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	return nil
}

// agreement compares the rankings of the rows that both have scores of: the last ones.
func agreement(a, b []float64) float64 {
	n := min(len(a), len(b))
	return spearman(a[len(a)-n:], b[len(b)-n:])
}

// readLabels reads a column of truth values.
func readLabels(file, column string) ([]bool, error) {
	m := manifest.Defaults()
	m.Features = []manifest.Feature{{Feature: sdk.Feature{Name: column, DType: sdk.Bool}}}
	batch, err := readTraining(file, rows.NewSchema(m))
	if err != nil {
		return nil, fmt.Errorf("reading --labels: %w", err)
	}
	truth := batch.Column(0).Bools
	if !slices.Contains(truth, true) || !slices.Contains(truth, false) {
		return nil, fmt.Errorf("--labels names %q, which has one value only: anomalies are 1 or true, the others 0 or false", column)
	}
	return truth, nil
}

// spearman returns the correlation of the ranks, with mid-ranks for ties; NaN if all
// values are equal.
func spearman(a, b []float64) float64 {
	x, y := ranks(a), ranks(b)
	mx, my := mean(x), mean(y)
	var xy, xx, yy float64
	for i := range x {
		dx, dy := x[i]-mx, y[i]-my
		xy, xx, yy = xy+dx*dy, xx+dx*dx, yy+dy*dy
	}
	return xy / math.Sqrt(xx*yy)
}

func mean(v []float64) (sum float64) {
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// ranks returns the rank of each value among all, from 1 on; equal values have the mean
// of their ranks.
func ranks(v []float64) []float64 {
	at := make([]int, len(v))
	for i := range at {
		at[i] = i
	}
	sort.Slice(at, func(i, j int) bool { return v[at[i]] < v[at[j]] })
	out := make([]float64, len(v))
	for from := 0; from < len(at); {
		to := from + 1
		for to < len(at) && v[at[to]] == v[at[from]] {
			to++
		}
		for _, i := range at[from:to] {
			out[i] = float64(from+1+to) / 2
		}
		from = to
	}
	return out
}

// auroc returns the area under the ROC curve and its 95 % interval: DeLong, DeLong and
// Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating
// characteristic curves", Biometrics 44, 1988, computed by mid-ranks (Sun and Xu, 2014).
func auroc(scores []float64, truth []bool) (area, low, high float64) {
	var yes, no []float64
	for i, v := range scores {
		if truth[i] {
			yes = append(yes, v)
		} else {
			no = append(no, v)
		}
	}
	m, n := float64(len(yes)), float64(len(no))
	together := ranks(append(slices.Clone(yes), no...))
	place := func(own, all []float64, of float64) (share []float64) {
		for i := range own {
			share = append(share, (all[i]-own[i])/of)
		}
		return share
	}
	wins, losses := place(ranks(yes), together[:len(yes)], n), place(ranks(no), together[len(yes):], m)
	area = mean(wins)
	deviation := math.Sqrt(variance(wins)/m + variance(losses)/n)
	const z = 1.959963984540054
	return area, max(0, area-z*deviation), min(1, area+z*deviation)
}

func variance(v []float64) (sum float64) {
	if len(v) < 2 {
		return 0
	}
	middle := mean(v)
	for _, x := range v {
		sum += (x - middle) * (x - middle)
	}
	return sum / float64(len(v)-1)
}
