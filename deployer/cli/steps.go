package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// parseSteps parses weight[:hold][:<n>rows][:pause], separated by commas.
func parseSteps(text string) ([]v1alpha1.Step, error) {
	var out []v1alpha1.Step
	for part := range strings.SplitSeq(text, ",") {
		fields := strings.Split(strings.TrimSpace(part), ":")
		weight, err := strconv.ParseInt(strings.TrimSuffix(fields[0], "%"), 10, 32)
		if err != nil || weight < 0 || weight > 100 {
			return nil, fmt.Errorf("step %q does not begin with a weight of 0 to 100", part)
		}
		s := v1alpha1.Step{Weight: int32(weight)}
		for _, f := range fields[1:] {
			if f == "pause" {
				s.Pause = true
				continue
			}
			if n, ok := strings.CutSuffix(f, "rows"); ok {
				if s.MinSamples, err = strconv.ParseInt(n, 10, 64); err != nil || s.MinSamples < 0 || s.MinSamples > 1e9 {
					return nil, fmt.Errorf("step %q: %q is not a number of rows up to 1000000000", part, f)
				}
				continue
			}
			d, err := time.ParseDuration(f)
			if err != nil || d < 0 {
				return nil, fmt.Errorf("step %q: %q is neither a time, such as 30s, nor rows, such as 500rows, nor pause", part, f)
			}
			s.Hold = &metav1.Duration{Duration: d}
		}
		if n := len(out); n > 0 && out[n-1].Weight > s.Weight {
			return nil, fmt.Errorf("step %d gives the new revision %d %%, and step %d gives it %d %%: weights must not fall, put them in order", n, out[n-1].Weight, n+1, s.Weight)
		}
		out = append(out, s)
	}
	if out[len(out)-1].Weight == 0 {
		return nil, fmt.Errorf("steps %q give the new revision no traffic, so that its gates have nothing to judge: give a step a weight of 1 or more", text)
	}
	return out, nil
}
