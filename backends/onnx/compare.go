package onnx

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/plan"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// comparison names what a comparison depends on besides the graph.
func comparison(m *manifest.Manifest) string {
	h := sha256.New()
	threshold := math.NaN()
	if m.Threshold != nil {
		threshold = *m.Threshold
	}
	fmt.Fprintln(h, plan.Version, m.GoldenTolerance(), threshold, m.Output.HigherIsNormal, mayMiss(m))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// mayMiss tells for each feature whether NaN may come.
func mayMiss(m *manifest.Manifest) []bool {
	out := make([]bool, len(m.Features))
	for j, f := range m.Features {
		out[j] = f.Missing.Policy == manifest.MissingIsNaN
	}
	return out
}

// The rows of a comparison.
const (
	comparedRows = 1024
	comparedOnes = 16 // that are scored alone, too
	comparedCall = 256
)

// closeEnough is how far scores may differ, in parts of the largest one. Of scores far
// above the median only these themselves may differ so much: small ones must not hide
// behind a few that are immense, as those of rows far from all training rows are.
const (
	closeEnough = 1e-6
	farAbove    = 100 // times the median
)

// compare scores rows with the plan and with the graph: those of the probe,
// rows at the thresholds of the trees and beside them, and drawn ones. The error
// says how they differ.
func (f *candidate) compare(ctx context.Context, a backends.Artifact, s *scorer, found finding) (string, error) {
	m := a.Manifest
	n, call := found.compared(s.each)
	rows := f.rows(a, n)
	want, got := make([]float64, n), make([]float64, n)
	for from := 0; from < n; from += call {
		to := min(from+call, n)
		if err := s.scoreApart(ctx, rows.Slice(from, to), want[from:to]); err != nil {
			return "", fmt.Errorf("scoring rows with ONNX Runtime: %w", err)
		}
	}
	if err := f.plan.Score(ctx, rows, got); err != nil {
		return "", err
	}
	worst, err := differ(m, want, got)
	if err != nil {
		return "", err
	}
	var one, other [1]float64
	for i := range min(comparedOnes, n) {
		row := rows.Slice(i*n/comparedOnes, i*n/comparedOnes+1)
		if err := errors.Join(s.Score(ctx, row, one[:]), f.plan.Score(ctx, row, other[:])); err != nil {
			return "", fmt.Errorf("scoring a row alone: %w", err)
		}
		if !sameScore(other[0], got[i*n/comparedOnes], 0) {
			return "", fmt.Errorf("a row alone scores %v, and %v among others", other[0], got[i*n/comparedOnes])
		}
		if _, err := differ(m, append(one[:1:1], want...), append(other[:1:1], got...)); err != nil {
			return "", fmt.Errorf("a row alone: %w", err)
		}
	}
	if worst == 0 {
		return fmt.Sprintf("%d rows score the same as in ONNX Runtime, bit for bit", n), nil
	}
	return fmt.Sprintf("%d rows score as in ONNX Runtime, within %.2g", n, worst), nil
}

// compared returns how many rows are compared, and how many in a call. Each row stands
// each times in a call, which has no more rows than were proved to fit the memory.
func (f *finding) compared(each int) (rows, call int) {
	rows = comparedRows
	if per := f.BatchTime.Seconds() / float64(max(f.Rows, 1)); per > 0 {
		rows = int(min(float64(rows), max(64, 0.2/per))) // about 0.2 s of a slow graph
	}
	return rows, max(1, min(comparedCall, f.Rows/max(each, 1)))
}

// scoreApart scores rows that stand as far apart as hosts put them, where ONNX Runtime
// adds the columns of each in the same order.
func (s *scorer) scoreApart(ctx context.Context, in *sdk.Batch, out []float64) error {
	if s.each <= 1 {
		return s.Score(ctx, in, out)
	}
	wide := sdk.NewBatch(in.Features())
	wide.Resize(in.Rows() * s.each)
	for i := range wide.Rows() {
		wide.CopyRow(i, in, i/s.each)
	}
	all := make([]float64, wide.Rows())
	if err := s.Score(ctx, wide, all); err != nil {
		return err
	}
	for i := range out {
		out[i] = all[i*s.each]
	}
	return nil
}

// rows returns the rows of a comparison.
func (f *candidate) rows(a backends.Artifact, n int) *sdk.Batch {
	base := a.ProbeRows
	random := rand.New(rand.NewPCG(1, 2)) // the comparison of a graph is always the same
	rows := f.trial.Rows(f.plan, base, n, mayMiss(a.Manifest), random)
	for i := range min(base.Rows(), n/2) {
		rows.CopyRow(i, base, i)
	}
	return rows
}

// differ returns the largest difference of scores, or an error if it is too large or a
// row's flag differs.
func differ(m *manifest.Manifest, want, got []float64) (worst float64, err error) {
	scale := scaleOf(want)
	tolerance := min(closeEnough, m.GoldenTolerance())
	for i, w := range want {
		if !sameScore(w, got[i], tolerance*max(scale, math.Abs(w))) {
			return 0, fmt.Errorf("a row scores %v in ONNX Runtime and %v here", w, got[i])
		}
		if m.Threshold != nil && (m.Output.Sign()*w > *m.Threshold) != (m.Output.Sign()*got[i] > *m.Threshold) {
			return 0, fmt.Errorf("a row scores %v in ONNX Runtime and %v here, and the threshold is between them", w, got[i])
		}
		if d := math.Abs(w - got[i]); d > worst {
			worst = d
		}
	}
	return worst, nil
}

// scaleOf returns the largest size of scores, or farAbove times the median one if that
// is less. Infinities, zeros and NaN are no sizes.
func scaleOf(scores []float64) float64 {
	sizes := make([]float64, 0, len(scores))
	for _, v := range scores {
		if a := math.Abs(v); a > 0 && !math.IsInf(a, 0) {
			sizes = append(sizes, a)
		}
	}
	if len(sizes) == 0 {
		return 0
	}
	slices.Sort(sizes)
	return min(sizes[len(sizes)-1], farAbove*sizes[len(sizes)/2])
}

// sameScore reports whether scores are equal, or both NaN, or finite and no further apart
// than allowed.
func sameScore(a, b, allowed float64) bool {
	return a == b || (math.IsNaN(a) && math.IsNaN(b)) || (!math.IsInf(a, 0) && math.Abs(a-b) <= allowed)
}
