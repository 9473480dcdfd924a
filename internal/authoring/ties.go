package authoring

import (
	"fmt"

	"github.com/pynomaly/pynomaly-runtime/internal/stats"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// ties tells of the commonest training score, if more scores are equal to it than ecdf
// suits.
type ties struct {
	share, score  float64 // share is 0: there are few
	ecdf, midrank float64 // the predictions of such a row
	method        string  // of the calibration
}

// tiesOf counts equal scores. The scores are sorted.
func tiesOf(scores []float64) ties {
	if methodFor(scores) != manifest.CalibrateMidrank {
		return ties{}
	}
	most, score := stats.LargestTie(scores)
	n := float64(len(scores))
	return ties{
		share: float64(most) / n, score: score, method: manifest.CalibrateMidrank,
		ecdf: float64(stats.CountAtMost(scores, score)) / n, midrank: stats.Midrank(scores, score),
	}
}

// String says it in a clause that follows a sentence, or is empty.
func (t ties) String() string {
	many := fmt.Sprintf("; %.3g %% of the rows score %g: calibration.method is %s, which predicts", 100*t.share, t.score, t.method)
	switch {
	case t.share == 0:
		return ""
	case t.method == manifest.CalibrateMidrank:
		return fmt.Sprintf("%s %.3g for them (ecdf would predict %.3g)", many, t.midrank, t.ecdf)
	case t.method == manifest.CalibrateECDF:
		return fmt.Sprintf("%s %.3g for them (ecdf_midrank would predict %.3g)", many, t.ecdf, t.midrank)
	}
	return ""
}
