package gate_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/deployer/gate"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// trial is a comparison that is repeated many times: of a good version, whose
// failures are false alarms, or of a bad one, which the gate must find often enough.
type trial struct {
	gate           string
	stable, update version
	words          string // how they differ
	good           bool
	power          float64 // least share that must fail at 10,000 rows; 0: not tested
}

func trials() []trial {
	share := func(set func(*version, float64), p float64) version {
		var v version
		set(&v, p)
		return v
	}
	requests := func(p float64) version { return share(func(v *version, p float64) { v.errors = p }, p) }
	rows := func(p float64) version { return share(func(v *version, p float64) { v.failed = p }, p) }
	nan := func(p float64) version { return share(func(v *version, p float64) { v.nonfinite = p }, p) }
	anomalies := func(p float64) version { return share(func(v *version, p float64) { v.anomalies = p }, p) }
	scores := func(mean, sd float64) version { return version{scores: normal{mean, sd}} }
	slower := func(times float64) version {
		return version{durations: normal{math.Log(0.002 * times), 0.5}}
	}
	paired := func(flips, noise float64) version { return version{paired: true, flips: flips, noise: noise} }
	return []trial{
		{gate.Errors, requests(0), requests(0), "no request fails", true, 0},
		{gate.Errors, requests(0.001), requests(0.001), "0.1 % of the requests fail, as before", true, 0},
		{gate.Errors, requests(0.1), requests(0.1), "10 % of the requests fail, as before", true, 0},
		{gate.Errors, requests(0.001), requests(0.02), "2 % of the requests fail, 0.1 % before", false, 0.95},
		{gate.Errors, requests(0.001), requests(0.05), "5 % of the requests fail, 0.1 % before", false, 0.999},
		{gate.Errors, rows(0.1), rows(0.1), "10 % of the rows fail, as before", true, 0},
		{gate.Errors, rows(0), rows(0.03), "3 % of the rows fail, none before", false, 0.999},
		{gate.Errors, rows(0), rows(0.5), "half of the rows fail, none before", false, 1},
		{gate.Nonfinite, nan(0), nan(0), "no NaN", true, 0},
		{gate.Nonfinite, nan(0.001), nan(0.001), "NaN on 0.1 % of the rows, as before", true, 0},
		{gate.Nonfinite, nan(0), nan(0.005), "NaN on 0.5 % of the rows, none before", false, 0.95},
		{gate.Nonfinite, nan(0), nan(0.02), "NaN on 2 % of the rows, none before", false, 0.999},
		{gate.Anomalies, anomalies(0.01), anomalies(0.01), "1 % anomalies, as before", true, 0},
		{gate.Anomalies, anomalies(0.1), anomalies(0.1), "10 % anomalies, as before", true, 0},
		{gate.Anomalies, anomalies(0.05), anomalies(0.09), "9 % anomalies, 5 % before: within the limit", true, 0},
		{gate.Anomalies, anomalies(0.05), anomalies(0.15), "15 % anomalies, 5 % before", false, 0.999},
		{gate.Anomalies, anomalies(0.1), anomalies(0), "no anomalies, 10 % before", false, 0.999},
		{gate.Constant, scores(30, 3), scores(30, 3), "scores of 30 ± 3, as before", true, 0},
		{gate.Constant, scores(30, 3), scores(30, 0), "always 30, 30 ± 3 before", false, 1},
		{gate.Scores, scores(30, 3), scores(30, 3), "scores of 30 ± 3, as before", true, 0},
		{gate.Scores, scores(0, 1), scores(0, 1), "scores of 0 ± 1, as before", true, 0},
		{gate.Scores, scores(0, 1), scores(0.2, 1), "shifted by 0.2 of the deviation: within the limit", true, 0},
		{gate.Scores, scores(0, 1), scores(0.7, 1), "shifted by 0.7 of the deviation", false, 0.999},
		{gate.Scores, scores(0, 1), scores(0, 2), "twice the deviation", false, 0.999},
		{gate.Scores, scores(2000, 300), scores(9000, 300), "9,000 ± 300, 2,000 ± 300 before", false, 1},
		{gate.Latency, slower(1), slower(1), "as fast", true, 0},
		{gate.Latency, slower(1), slower(1.5), "half as slow again: within the limit", true, 0},
		{gate.Latency, slower(1), slower(3), "three times as slow", false, 0.999},
		{gate.Shadow, version{}, paired(0.01, 0.1), "1 % judged differently", true, 0},
		{gate.Shadow, version{}, paired(0.1, 0.1), "10 % judged differently", false, 0.95},
		{gate.Shadow, version{}, paired(0, 3), "ranks hardly correlate", false, 0.999},
	}
}

// ends counts the results of trials.
type ends map[gate.Result]int

// run makes a trial that ends with n rows of the new version and nine times as many
// of the stable one, with all the looks that a rollout takes on the way. Scores are
// counted between edges.
func (c *trial) run(n int64, edges []float64, r *rand.Rand) gate.Result {
	l := gate.Defaults()
	var look gate.Look
	var stable, update gate.Sample
	var pairs []gate.Pair
	result := gate.Inconclusive
	for at := int64(50); ; at = min(n, (at*6+4)/5) {
		look = look.Next(at)
		var all []gate.Verdict
		if c.update.paired {
			pairs = c.update.pairs(pairs, int(at), r)
			all = []gate.Verdict{gate.Paired(l, pairs, look.K)}
		} else {
			c.stable.count(&stable, edges, 9*at-stable.Size(), r)
			c.update.count(&update, edges, at-update.Size(), r)
			all = gate.Evaluate(l, stable, update, look.K)
		}
		for _, v := range all {
			if v.Gate == c.gate {
				result = v.Result
			}
		}
		if result == gate.Fail || at >= n {
			return result
		}
	}
}

// full reports whether the complete test is wanted.
func full() bool { return os.Getenv("GATES") == "full" }

// most returns how many of n trials of a good version may fail. Each gate may err in
// a seventh of 1 % over all its looks; more failures than this occur by chance one
// time in a million.
func most(n int) int {
	p := gate.Defaults().Alpha / 7
	mean := float64(n) * p
	return int(math.Ceil(mean + 5*math.Sqrt(mean*(1-p)) + 3))
}

// TestPower checks by simulation that gates fail no more good versions than
// promised, and that they find the bad ones. GATES=full repeats it often, and
// GATES_TABLE names a file for the table.
func TestPower(t *testing.T) {
	times := 50
	if full() {
		times = 3000
	}
	var table strings.Builder
	fmt.Fprintf(&table, "| gate | the new version | limit holds | failed at 1,000 rows | at 10,000 | passed at 1,000 | at 10,000 |\n|---|---|---|---|---|---|---|\n")
	for i, c := range trials() {
		times := times
		if c.update.paired && full() { // thousands of rows are drawn one by one
			times /= 6
		}
		var at [2]ends
		edges := grid(c.stable.scores, c.update.scores)
		for k, n := range []int64{1000, 10_000} {
			if c.update.paired {
				n /= 2 // no more are replayed
			}
			at[k] = many(times, func(j int) gate.Result { return c.run(n, edges, rand.New(rand.NewPCG(uint64(100*i+k), uint64(j)))) })
			if c.good && at[k][gate.Fail] > most(times) {
				t.Errorf("%s, %s: %d of %d good versions fail at %d rows; at most %d may", c.gate, c.words, at[k][gate.Fail], times, n, most(times))
			}
			if at[k][gate.CannotTell]+at[k][gate.Error] > 0 {
				t.Errorf("%s, %s: %v", c.gate, c.words, at[k])
			}
		}
		found := float64(at[1][gate.Fail]) / float64(times)
		if slack := 4 * math.Sqrt(c.power*(1-c.power)/float64(times)); found < c.power-slack {
			t.Errorf("%s, %s: %.4f of the bad versions fail at 10,000 rows, want %v", c.gate, c.words, found, c.power)
		}
		percent := func(r gate.Result, k int) string {
			return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", 100*float64(at[k][r])/float64(times)), "0"), ".") + " %"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s | %s | %s | %s |\n", c.gate, c.words, map[bool]string{true: "yes", false: "no"}[c.good],
			percent(gate.Fail, 0), percent(gate.Fail, 1), percent(gate.Pass, 0), percent(gate.Pass, 1))
	}
	t.Logf("%d times each\n%s", times, &table)
	if file := os.Getenv("GATES_TABLE"); file != "" {
		if err := os.WriteFile(file, []byte(table.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// many calls one n times on all processors, and counts the results.
func many(n int, one func(i int) gate.Result) ends {
	const workers = 4
	parts := make([]ends, workers)
	var wg sync.WaitGroup
	for w := range workers {
		parts[w] = ends{}
		wg.Go(func() {
			for i := w; i < n; i += workers {
				parts[w][one(i)]++
			}
		})
	}
	wg.Wait()
	sum := ends{}
	for _, p := range parts {
		for r, k := range p {
			sum[r] += k
		}
	}
	return sum
}

// TestPowerIsDocumented checks that docs/deployer.md has a row for each trial.
func TestPowerIsDocumented(t *testing.T) {
	text, err := os.ReadFile(testkit.Root() + "/docs/deployer.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "<!-- gates -->")
	table, _, found := strings.Cut(rest, "<!-- end of gates -->")
	if !found {
		t.Fatal("docs/deployer.md has no table between <!-- gates --> and <!-- end of gates -->")
	}
	for _, c := range trials() {
		if row := fmt.Sprintf("\n| `%s` | %s |", c.gate, c.words); !strings.Contains(table, row) {
			t.Errorf("docs/deployer.md has no row %s: make gates-table", row[1:])
		}
	}
	if rows := strings.Count(table, "\n| `"); rows != len(trials()) {
		t.Errorf("docs/deployer.md has %d rows, there are %d trials: make gates-table", rows, len(trials()))
	}
}
