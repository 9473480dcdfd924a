package model

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// TestTrainingScores checks that training scores that cannot calibrate are refused
// with the reason.
func TestTrainingScores(t *testing.T) {
	file := func(scores ...float64) []byte {
		var out []byte
		for _, s := range scores {
			out = binary.LittleEndian.AppendUint64(out, math.Float64bits(s))
		}
		return out
	}
	for name, c := range map[string]struct {
		method string
		data   []byte
		want   string // empty: accepted
	}{
		"none":                {manifest.CalibrateECDF, nil, "has 0 bytes"},
		"no whole number":     {manifest.CalibrateECDF, file(1, 2)[:15], "has 15 bytes"},
		"NaN":                 {manifest.CalibrateECDF, file(1, math.NaN()), "training score 1 is NaN"},
		"infinite":            {manifest.CalibrateECDF, file(math.Inf(-1), 1), "training score 0 is -Inf"},
		"not sorted":          {manifest.CalibrateECDF, file(2, 1), "must be sorted"},
		"all equal":           {manifest.CalibrateECDF, file(3, 3, 3), ""},
		"all equal, linear":   {manifest.CalibrateLinear, file(3, 3, 3), "scores that differ"},
		"all equal, unify":    {manifest.CalibrateUnify, file(3, 3, 3), "scores that differ"},
		"one, ecdf":           {manifest.CalibrateECDF, file(3), ""},
		"some that go linear": {manifest.CalibrateLinear, file(1, 2, 3), ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newCalibration(&manifest.Calibration{Method: c.method, Scores: "s"}, map[string][]byte{"s": c.data})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
