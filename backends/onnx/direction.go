package onnx

import "strings"

// direction returns whether higher values of an output are normal, as its name says, and
// false if its name says nothing. The first names are those of scikit-learn's methods,
// whose values are lower the more abnormal a row is, and of likelihoods. The others are
// those of PyOD and of what reconstruction and classification yield.
func direction(output string) (higherIsNormal, known bool) {
	name := strings.ToLower(strings.Trim(output, "_0123456789"))
	for _, part := range []string{"score_samples", "decision_function", "log_likelihood", "loglikelihood", "likelihood", "log_prob", "logprob", "normality"} {
		if strings.Contains(name, part) {
			return true, true
		}
	}
	for _, part := range []string{"anomaly", "outlier", "fraud", "error", "loss", "mse", "mae", "distance", "novelty", "abnormality", "decision_scores"} {
		if strings.Contains(name, part) {
			return false, true
		}
	}
	return false, false
}
