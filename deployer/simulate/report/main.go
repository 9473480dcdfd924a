// Command report simulates rollouts of good and bad versions and prints how well the
// gates told them apart.
package main

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"text/tabwriter"

	"github.com/pynomaly/pynomaly-runtime/deployer/simulate"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

func main() {
	rollouts := flag.Int("rollouts", 20_000, "canary rollouts, half of them of good versions")
	rate := flag.Int("rate", 50, "requests per second")
	seed := flag.Uint64("seed", 1, "of the random numbers")
	workers := flag.Int("workers", 2, "largest number of concurrent rollouts")
	flag.Parse()
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "strategy\tnew version\trollouts\tpromoted\trolled back\tlargest share\trequests to it: median\t95 %%\tseconds: median\n")
	bad := *rollouts / 2 / len(simulate.Kinds())
	for _, c := range []struct {
		strategy string
		n        int
		bad      int
	}{{v1alpha1.Canary, *rollouts / 2, bad}, {v1alpha1.BlueGreen, 500, 100}, {v1alpha1.Rolling, 100, 100}, {v1alpha1.Direct, 100, 100}} {
		for _, kind := range append([]string{simulate.Good}, simulate.Kinds()...) {
			n := c.bad
			if kind == simulate.Good {
				n = c.n
			}
			all := run(n, *workers, func(i int) simulate.Outcome {
				return simulate.Rollout(kind, c.strategy, *rate, rand.New(rand.NewPCG(*seed, uint64(i))))
			})
			print1(w, c.strategy, kind, all)
			if kind == simulate.Good && c.strategy == v1alpha1.Canary {
				defer falseAlarms(all)
			}
		}
	}
	if err := w.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

func run(n, workers int, one func(int) simulate.Outcome) []simulate.Outcome {
	out := make([]simulate.Outcome, n)
	var wg sync.WaitGroup
	for k := range workers {
		wg.Go(func() {
			for i := k; i < n; i += workers {
				out[i] = one(i)
			}
		})
	}
	wg.Wait()
	return out
}

func print1(w *tabwriter.Writer, how, kind string, all []simulate.Outcome) {
	promoted, share := 0, int32(0)
	var exposed, seconds []float64
	for _, o := range all {
		if o.Promoted {
			promoted++
		}
		share = max(share, o.Weight)
		exposed, seconds = append(exposed, float64(o.Exposed)), append(seconds, o.Seconds)
	}
	slices.Sort(exposed)
	slices.Sort(seconds)
	fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d %%\t%.0f\t%.0f\t%.0f\n", how, kind, len(all), promoted, len(all)-promoted, share,
		exposed[len(exposed)/2], exposed[len(exposed)*95/100], seconds[len(seconds)/2])
}

// falseAlarms prints the share of good versions that were rolled back, and the upper
// end of its 95 % interval (Wilson, Journal of the American Statistical Association
// 22, 1927, one-sided; 3/n if there were none).
func falseAlarms(all []simulate.Outcome) {
	n, k := float64(len(all)), 0.0
	for _, o := range all {
		if !o.Promoted {
			k++
		}
	}
	const z = 1.6449
	p := k / n
	upper := (p + z*z/(2*n) + z*math.Sqrt(p*(1-p)/n+z*z/(4*n*n))) / (1 + z*z/n)
	if k == 0 {
		upper = 3 / n
	}
	fmt.Printf("\nfalse alarms of canaries: %.0f of %.0f; upper bound at 95 %%: %.3f %%\n", k, n, 100*upper)
}
