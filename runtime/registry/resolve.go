package registry

import (
	"hash/fnv"
	"maps"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// This file says which version answers a request: a function of the aliases as
// configured, the versions' standings and the request. It changes nothing and waits for
// nothing.

// Latest is the version name that stands for the newest version.
const Latest = "latest"

// Aliases are the names of a model's versions, and how requests without a
// version are split.
type Aliases struct {
	Names   map[string]string // alias to version
	Default map[string]int    // alias, version or latest to weight
}

// standing is what resolution knows of a version's state.
type standing uint8

const (
	// offered: it is loaded, or loads when it is asked for, or says why it cannot for now.
	offered standing = iota
	// arriving: it came while others answered and has not loaded yet.
	arriving
	// out: its files are at fault, or it was unloaded by request.
	out
)

// candidate is a version that resolution chooses from.
type candidate interface {
	name() string
	standing() standing
}

// rules are the aliases of a model, prepared for requests. A nil *rules has none.
type rules struct {
	Aliases
	// kept says what an alias stood for before: it does so until the version that it
	// stands for now has loaded.
	kept   map[string]string
	shares []share
	total  uint64
}

// share is the weight of a name.
type share struct {
	name   string
	weight uint64
}

// newRules prepares aliases. Names of weight 0 answer nobody.
func newRules(a Aliases, kept map[string]string) *rules {
	r := &rules{Aliases: a, kept: kept}
	for _, name := range slices.Sorted(maps.Keys(a.Default)) {
		if weight := a.Default[name]; weight > 0 {
			r.shares = append(r.shares, share{name, uint64(weight)})
			r.total += uint64(weight)
		}
	}
	return r
}

// draw chooses the name that answers a request without a version: by weight where there
// are weights, else Latest. A key always draws the same name; without one, random in
// [0, 1) decides. Whether the name can be served plays no part: its share is nobody
// else's.
func (r *rules) draw(key string, random func() float64) string {
	if r == nil || r.total == 0 {
		return Latest
	}
	var at uint64
	if key != "" {
		h := fnv.New64a()
		_, _ = h.Write([]byte(key))
		at = h.Sum64() % r.total
	} else {
		at = min(uint64(random()*float64(r.total)), r.total-1)
	}
	for _, s := range r.shares {
		if at < s.weight {
			return s.name
		}
		at -= s.weight
	}
	return Latest // not reached: the weights sum to total
}

// target returns the version that an alias stands for.
func (r *rules) target(alias string) (version string, ok bool) {
	if r == nil {
		return "", false
	}
	if version, ok = r.kept[alias]; ok {
		return version, true
	}
	version, ok = r.Names[alias]
	return version, ok
}

// choice is the outcome of resolve.
type choice struct {
	at      int    // of the version among those that were given; -1: it is not there
	version string // that the name stands for; empty: the name is unknown
}

// resolve returns the version that a name stands for: an exact version, else an alias,
// else Latest. Versions are ranked by manifest.NewestFirst, and there is at least one.
func resolve[C candidate](r *rules, ranked []C, name string) choice {
	if at := indexOf(ranked, name); at >= 0 {
		return choice{at, name}
	}
	if version, ok := r.target(name); ok {
		return choice{indexOf(ranked, version), version}
	}
	if name == Latest {
		at := latest(ranked)
		return choice{at, ranked[at].name()}
	}
	return choice{at: -1}
}

// indexOf finds an exact version. What is not named by a semantic version is none.
func indexOf[C candidate](ranked []C, version string) int {
	for i, c := range ranked {
		if c.name() == version && manifest.ValidVersion(version) {
			return i
		}
	}
	return -1
}

// latest returns the newest version that is not out. One that is arriving answers only
// where no other is offered. Where there is neither, it is the newest: it
// says what is wrong.
func latest[C candidate](ranked []C) int {
	first := [out + 1]int{-1, -1, -1}
	for i, c := range ranked {
		s := c.standing()
		if s == offered {
			return i
		}
		if first[s] < 0 {
			first[s] = i
		}
	}
	if first[arriving] >= 0 {
		return first[arriving]
	}
	return first[out]
}
