package authoring

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestUnusedFlags checks that a flag that a detector would ignore is refused, and that
// the help of each flag names the detectors that use it.
func TestUnusedFlags(t *testing.T) {
	o := DefaultFitOptions()
	f := pflag.NewFlagSet("fit", pflag.ContinueOnError)
	o.Flags(f)
	if err := f.Parse([]string{"--neighbors=5", "--seed=2", "--contamination=0.1"}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"iforest": "iforest has no --neighbors, which is for knn and lof: leave it out",
		"lof":     "lof has no --seed, which is for hstrees and iforest: leave it out",
		"svm":     `there is no detector "svm"`,
	} {
		if err := (Author{}).FitNamed(t.Context(), io.Discard, []string{name}, o); err == nil || err.Error() != want && !strings.HasPrefix(err.Error(), want+":") {
			t.Errorf("%s: %v", name, err)
		}
	}
	f.VisitAll(func(f *pflag.Flag) {
		said, _, _ := strings.Cut(f.Usage, ": ")
		names := strings.Split(said, ", ")
		if slices.Equal(names, strings.Split(graphNames(), ", ")) || !slices.Contains(DetectorNames(), names[0]) {
			names = nil
		}
		if !slices.Equal(names, only(f.Name)) {
			t.Errorf("--%s is for %v, as its help says; only says %v", f.Name, names, only(f.Name))
		}
	})
}
