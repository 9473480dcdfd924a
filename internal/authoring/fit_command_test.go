package authoring

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestUnusedFlags checks that the report names a flag that the detector ignores, and that
// the help of each flag names the detectors that use it.
func TestUnusedFlags(t *testing.T) {
	o := DefaultFitOptions()
	f := pflag.NewFlagSet("fit", pflag.ContinueOnError)
	o.Flags(f)
	if err := f.Parse([]string{"--neighbors=5", "--seed=2", "--contamination=0.1"}); err != nil {
		t.Fatal(err)
	}
	o.File, o.ID, o.Exclude, o.Categorical, o.Missing = training(t), "shop", []string{"label"}, []string{"colour"}, MissingMean
	a := author(t)
	for name, want := range map[string]string{"iforest": "iforest ignores --neighbors, which is for knn and lof", "lof": "lof ignores --seed, which is for hstrees and iforest"} {
		o.Version = map[string]string{"iforest": "1.0.0", "lof": "1.1.0"}[name]
		var out strings.Builder
		if err := a.FitNamed(t.Context(), &out, []string{name}, "", o); err != nil || !strings.Contains(out.String(), want) || strings.Count(out.String(), "ignores") != 1 {
			t.Errorf("%s: %s, %v", name, out.String(), err)
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

// TestMoreNeighboursThanRows checks that the report says when the rows are fewer than the
// neighbours that were asked for.
func TestMoreNeighboursThanRows(t *testing.T) {
	o := DefaultFitOptions()
	o.File, o.ID, o.Exclude, o.Categorical, o.Missing = training(t), "shop", []string{"label"}, []string{"colour"}, MissingMean
	o.Contamination = 0.1
	a := author(t)
	for version, k := range map[string]int{"1.0.0": 3, "1.1.0": 4000} {
		o.Version, o.Graph.Neighbours = version, k
		var out strings.Builder
		err := a.FitNamed(t.Context(), &out, []string{"knn"}, "", o)
		if err != nil || strings.Contains(out.String(), "all of them are its neighbours") != (k == 4000) {
			t.Errorf("%d neighbours: %s, %v", k, out.String(), err)
		}
	}
}
