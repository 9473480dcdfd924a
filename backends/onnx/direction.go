package onnx

import (
	"slices"
	"strings"
)

// direction returns whether higher values of an output are normal, as its name says, and
// false if its name says nothing. Names of anomalies go first, because "abnormality" has
// "normality" in it. Then come scikit-learn's methods, whose values are lower the more
// abnormal a row is, and likelihoods; then what reconstructions yield. A name that
// negates something is not understood.
func direction(output string) (higherIsNormal, known bool) {
	name := strings.ToLower(output)
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(name, part) })
	}
	switch {
	case has("neg", "nll", "invers", "minus"):
		return false, false
	case has("anomaly", "anomalous", "outlier", "fraud", "novelty", "abnormal", "decision_scores"):
		return false, true
	case has("score_samples", "decision_function", "likelihood", "log_prob", "logprob", "normality"):
		return true, true
	case has("error", "loss", "mse", "mae", "distance"):
		return false, true
	}
	return false, false
}
