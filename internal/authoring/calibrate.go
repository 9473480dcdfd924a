package authoring

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/internal/digest"
	"github.com/pynomaly/pynomaly-runtime/internal/stats"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// goldenRows is how many training rows become golden rows: rows stored with their
// scores, which the model must reproduce wherever it is loaded.
const goldenRows = 16

// The names of the files beside a fitted manifest.
const (
	goldenFile  = "golden.ndjson"
	trainScores = "train_scores.f64"
)

// addGolden adds golden rows to a model, taken at even distances from the training
// rows.
func addGolden(m *manifest.Manifest, rows *sdk.Batch, scores []float64, files map[string][]byte) (err error) {
	if files[goldenFile], err = golden(rows, scores); err != nil {
		return err
	}
	m.Golden = &manifest.Golden{Rows: goldenFile, Tolerance: tolerance(m)}
	return nil
}

// tolerance returns how far scores of golden rows may be off. It is small for
// float64 code that is the same everywhere.
func tolerance(m *manifest.Manifest) float64 {
	if m.Backend == manifest.BackendWASM {
		return 1e-9
	}
	return manifest.DefaultTolerance
}

// manyTies is the share of equal training scores above which ecdf_midrank is chosen:
// ecdf then gives the commonest row a prediction that is too high by more than half of it.
const manyTies = 0.1

// methodFor chooses the method of calibration for sorted training scores.
func methodFor(scores []float64) string {
	if most, _ := stats.LargestTie(scores); most > 1 && float64(most) > manyTies*float64(len(scores)) {
		return manifest.CalibrateMidrank
	}
	return manifest.CalibrateECDF
}

// calibrate fills in the manifest's fields that follow from the scores of the
// training rows. A method of calibration that the manifest has stays.
func calibrate(m *manifest.Manifest, scores []float64, contamination float64, files map[string][]byte) {
	scores = slices.Sorted(slices.Values(scores))
	threshold := percentile(scores, 1-contamination)
	m.Threshold = &threshold
	files[trainScores] = encodeScores(scores)
	if m.Files == nil {
		m.Files = map[string]string{}
	}
	m.Files[trainScores] = digest.Of(files[trainScores])
	method := methodFor(scores)
	if m.Calibration != nil {
		method = m.Calibration.Method
	}
	m.Calibration = &manifest.Calibration{Method: method, Scores: trainScores}
	m.Confidence = &manifest.Confidence{Contamination: contamination, TrainingSize: len(scores)}
	addBins(m, scores, files)
}

// percentile interpolates linearly between the sorted values, as numpy does.
func percentile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	low := int(at)
	if low+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return stats.Between(sorted[low], sorted[low+1], at-float64(low))
}

// encodeScores writes scores as little-endian float64s.
func encodeScores(v []float64) []byte {
	out := make([]byte, 0, 8*len(v))
	for _, x := range v {
		out = binary.LittleEndian.AppendUint64(out, math.Float64bits(x))
	}
	return out
}

// spreadOver returns the indices of the golden rows among so many training rows.
func spreadOver(rows int) (at []int) {
	for i := 0; i < rows; i += max(1, rows/goldenRows) {
		at = append(at, i)
	}
	return at
}

// spread copies the training rows that become golden rows.
func spread(rows *sdk.Batch) *sdk.Batch {
	at := spreadOver(rows.Rows())
	out := sdk.NewBatch(rows.Features())
	out.Resize(len(at))
	for k, i := range at {
		out.CopyRow(k, rows, i)
	}
	return out
}

// golden encodes rows at even distances from the training rows, with their scores.
func golden(rows *sdk.Batch, scores []float64) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	for _, i := range spreadOver(rows.Rows()) {
		data := map[string]any{}
		for j, f := range rows.Features() {
			data[f.Name] = plain(rows.Value(i, j))
		}
		if err := enc.Encode(map[string]any{"data": data, "score": scores[i]}); err != nil {
			return nil, fmt.Errorf("writing golden rows: %w", err)
		}
	}
	return out.Bytes(), nil
}

// plain returns a value that JSON can represent: NaN becomes a missing value.
func plain(v any) any {
	switch x := v.(type) {
	case float32:
		if x != x {
			return nil
		}
	case float64:
		if x != x {
			return nil
		}
	}
	return v
}

// reference returns the middle value of every number feature and the most common
// value of every text feature. Gaps do not count; a feature of gaps alone has 0.
func reference(rows *sdk.Batch) map[string]any {
	out := map[string]any{}
	n := rows.Rows()
	middles := middleNumbers(rows)
	for j, f := range rows.Features() {
		if middles[j] != nil {
			out[f.Name] = middles[j]
			continue
		}
		var values []any
		for i := range n {
			if v := rows.Value(i, j); plain(v) != nil {
				values = append(values, v)
			}
		}
		if len(values) == 0 {
			out[f.Name] = 0.0
			continue
		}
		slices.SortStableFunc(values, compare)
		if f.DType.Numeric() {
			out[f.Name] = values[(len(values)-1)/2]
			continue
		}
		best, run, most := values[0], 0, 0
		for i, v := range values {
			if i > 0 && v != values[i-1] {
				run = 0
			}
			if run++; run > most {
				best, most = v, run
			}
		}
		out[f.Name] = best
	}
	return out
}

// compare orders values of one type. NaN comes first.
func compare(a, b any) int {
	less := func(a, b any) bool {
		switch x := a.(type) {
		case float32:
			return x < b.(float32) || (x != x && b.(float32) == b.(float32))
		case float64:
			return x < b.(float64) || (x != x && b.(float64) == b.(float64))
		case int64:
			return x < b.(int64)
		case string:
			return x < b.(string)
		}
		return a == false && b == true
	}
	switch {
	case less(a, b):
		return -1
	case less(b, a):
		return 1
	}
	return 0
}
