package registry

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// known is a version in a test of resolution.
type known struct {
	version string
	state   standing
}

func (k known) name() string       { return k.version }
func (k known) standing() standing { return k.state }

// ranked parses versions such as "1.0.0 2.0.0:out", in the order of resolution.
func ranked(text string) []known {
	states := map[string]standing{"": offered, "arriving": arriving, "out": out}
	var out []known
	for _, one := range strings.Fields(text) {
		version, state, _ := strings.Cut(one, ":")
		out = append(out, known{version, states[state]})
	}
	slices.SortFunc(out, func(a, b known) int { return manifest.NewestFirst(a.version, b.version) })
	return out
}

func TestResolve(t *testing.T) {
	names := Aliases{Names: map[string]string{"stable": "1.0.0", "canary": "2.0.0", "gone": "9.0.0", "3.0.0": "1.0.0"}}
	for _, c := range []struct {
		versions, name, want string // want: the version, "<version> missing" or "unknown"
		aliases              Aliases
		kept                 map[string]string
	}{
		{versions: "1.0.0 2.0.0", name: "latest", want: "2.0.0"},
		{versions: "1.0.0 2.0.0-rc.1", name: "latest", want: "1.0.0"},
		{versions: "2.0.0-rc.1 2.0.0-rc.10 2.0.0-rc.9", name: "latest", want: "2.0.0-rc.10"},
		{versions: "1.0.0 2.0.0:out", name: "latest", want: "1.0.0"},
		{versions: "1.0.0:out 2.0.0:out", name: "latest", want: "2.0.0"},
		{versions: "1.0.0:out 2.0.0-rc.1", name: "latest", want: "2.0.0-rc.1"},
		{versions: "1.0.0 2.0.0:arriving", name: "latest", want: "1.0.0"},
		{versions: "1.0.0:out 2.0.0:arriving", name: "latest", want: "2.0.0"},
		{versions: "1.0.0:arriving 2.0.0:out", name: "latest", want: "1.0.0"},
		{versions: "1.0.0 1.11:out backup:out", name: "latest", want: "1.0.0"},
		{versions: "1.0.0 1.11:out", name: "1.11", want: "unknown"},
		{versions: "1.0.0+a:out 1.0.0+b:out 0.9.0", name: "latest", want: "0.9.0"},
		{versions: "1.0.0+a:out 1.0.0+b:out", name: "1.0.0", want: "unknown"},
		{versions: "1.0.0 2.0.0", name: "1.0.0", want: "1.0.0"},
		{versions: "1.0.0 2.0.0:out", name: "2.0.0", want: "2.0.0"},
		{versions: "1.0.0", name: "3.0.0", want: "unknown"},
		{versions: "1.0.0", name: "stable", want: "unknown"},
		{versions: "1.0.0 2.0.0", name: "stable", aliases: names, want: "1.0.0"},
		{versions: "1.0.0 2.0.0:out", name: "canary", aliases: names, want: "2.0.0"},
		{versions: "1.0.0 2.0.0", name: "gone", aliases: names, want: "9.0.0 missing"},
		{versions: "1.0.0 3.0.0", name: "3.0.0", aliases: names, want: "3.0.0"},
		{versions: "1.0.0 2.0.0", name: "3.0.0", aliases: names, want: "1.0.0"},
		{versions: "1.0.0 2.0.0", name: "canary", aliases: names, kept: map[string]string{"canary": "1.0.0"}, want: "1.0.0"},
		{versions: "1.0.0 2.0.0", name: "latest", aliases: Aliases{Names: map[string]string{"latest": "1.0.0"}}, want: "1.0.0"},
		{versions: "1.0.0", name: "a", aliases: Aliases{Names: map[string]string{"a": "b", "b": "a"}}, want: "b missing"}, // a configuration with it is refused
	} {
		all := ranked(c.versions)
		got := resolve(newRules(c.aliases, c.kept), all, c.name)
		text := "unknown"
		switch {
		case got.at >= 0:
			text = all[got.at].version
		case got.version != "":
			text = got.version + " missing"
		}
		if text != c.want || got.at >= 0 && got.version != text {
			t.Errorf("%s of %q: %s (%+v), want %s", c.name, c.versions, text, got, c.want)
		}
	}
}

// TestDraw checks that a draw depends only on the weights and the key.
func TestDraw(t *testing.T) {
	for _, c := range []struct {
		weights map[string]int
		random  float64
		want    string
	}{
		{nil, 0.5, Latest},
		{map[string]int{"canary": 0}, 0.5, Latest},
		{map[string]int{"canary": 0, "stable": 100}, 0, "stable"},
		{map[string]int{"canary": 0, "stable": 100}, 0.999999, "stable"},
		{map[string]int{"canary": 10, "stable": 90}, 0.0999, "canary"},
		{map[string]int{"canary": 10, "stable": 90}, 0.1, "stable"},
		{map[string]int{"canary": 10, "stable": 90}, 1, "stable"}, // no random source says so
	} {
		got := newRules(Aliases{Default: c.weights}, nil).draw("", func() float64 { return c.random })
		if got != c.want {
			t.Errorf("%v at %v: %s, want %s", c.weights, c.random, got, c.want)
		}
	}
}

// TestResolutionHolds checks, for versions in any state, aliases and keys: a version
// of weight 0 gets no requests, a share belongs only to its name whatever can be
// served, and requests for latest and those without a version or weights get the
// newest version that is not out.
func TestResolutionHolds(t *testing.T) {
	pool := []string{"0.9.0", "1.0.0", "1.1.0", "2.0.0-rc.1", "2.0.0-rc.2", "2.0.0", "1.11", "1.0.0+b", "backup"}
	rapid.Check(t, func(t *rapid.T) {
		draws := func(states []standing) []known {
			var all []known
			for i, version := range pool {
				if states[i] <= out {
					s := states[i]
					if !manifest.ValidVersion(version) {
						s = out
					}
					all = append(all, known{version, s})
				}
			}
			slices.SortFunc(all, func(a, b known) int { return manifest.NewestFirst(a.version, b.version) })
			return all
		}
		some := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) standing { return standing(rapid.IntRange(0, 3).Draw(t, "state")) }), len(pool), len(pool))
		before, after := draws(some.Draw(t, "before")), draws(some.Draw(t, "after"))
		if len(before) == 0 || len(after) == 0 {
			return
		}
		a := Aliases{
			Names:   rapid.MapOf(rapid.SampledFrom([]string{"stable", "canary", "old"}), rapid.SampledFrom(pool)).Draw(t, "names"),
			Default: rapid.MapOf(rapid.SampledFrom([]string{"stable", "canary", "1.0.0", Latest}), rapid.IntRange(0, 3)).Draw(t, "weights"),
		}
		r := newRules(a, nil)
		key := rapid.String().Draw(t, "key")
		random := rapid.Float64Range(0, 0.999999).Draw(t, "random")
		name := r.draw(key, func() float64 { return random })
		if again := newRules(a, nil).draw(key, func() float64 { return random }); again != name {
			t.Fatalf("drawn %s, then %s", name, again)
		}
		total := 0
		for _, weight := range a.Default {
			total += weight
		}
		if total > 0 && a.Default[name] == 0 || total == 0 && name != Latest {
			t.Fatalf("%s was drawn by %v", name, a.Default)
		}
		// A name has its version in any state, or nothing.
		for _, all := range [][]known{before, after} {
			c := resolve(r, all, name)
			if target, alias := a.Names[name]; alias && c.version != target || !alias && name != Latest && c.at >= 0 && c.version != name {
				t.Fatalf("%s stands for %+v by %v", name, c, a.Names)
			}
		}
		checkLatest(t, before, resolve(newRules(Aliases{}, nil), before, Latest))
		var none *rules
		if c := resolve(none, before, none.draw(key, func() float64 { return random })); c != resolve(none, before, Latest) {
			t.Fatalf("without a version it is %+v", c)
		}
	})
}

// checkLatest compares a choice of latest with its definition.
func checkLatest(t *rapid.T, all []known, c choice) {
	classes := [][]known{{}, {}, {}}
	for _, k := range all {
		classes[k.state] = append(classes[k.state], k)
	}
	for _, class := range classes {
		if len(class) == 0 {
			continue
		}
		want := slices.MinFunc(class, func(a, b known) int { return manifest.NewestFirst(a.version, b.version) })
		if c.at < 0 || all[c.at] != want {
			t.Fatalf("latest of %v is %+v, want %v", all, c, want)
		}
		return
	}
}

// TestSharesAreWeights checks that over many keys each name gets its weight's share.
func TestSharesAreWeights(t *testing.T) {
	r := newRules(Aliases{Default: map[string]int{"stable": 90, "canary": 10, "off": 0}}, nil)
	counts := map[string]int{}
	const n = 10000
	for i := range n {
		counts[r.draw(fmt.Sprint("caller-", i), nil)]++
	}
	if c := counts["canary"]; c < n/10-300 || c > n/10+300 || counts["stable"] != n-c {
		t.Errorf("%v", counts)
	}
}
