package strategy_test

import (
	"flag"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/deployer/simulate"
)

var (
	walkSteps = flag.Int("walk.steps", 60_000, "evaluations of walks through the world")
	walkTrace = flag.Bool("walk.trace", false, "prints every plan")
	walkSeed  = flag.Uint64("walk.seed", 1, "of the first walk")
)

// TestWorld walks at random through everything that a rollout may meet. A failure
// names the seed of its walk: -walk.seed repeats it.
func TestWorld(t *testing.T) {
	steps, walks := 0, 0
	ends := map[string]int{}
	for seed := *walkSeed; steps < *walkSteps; seed++ {
		w := simulate.NewWalk(seed)
		if *walkTrace {
			w.Trace = t.Logf
		}
		err := w.Episode()
		steps += w.Steps
		walks++
		for end, n := range w.Ends {
			ends[end] += n
		}
		if err != nil {
			t.Fatalf("walk %d, after %d steps: %v", seed, steps, err)
		}
	}
	t.Logf("%d steps of %d walks from seed %d; rollouts ended: %v", steps, walks, *walkSeed, ends)
}
