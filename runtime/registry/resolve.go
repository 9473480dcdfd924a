package registry

import (
	"hash/fnv"
	"maps"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// This file decides which version answers a request, as a function of the configured
// aliases, the versions' standings and the request. It changes nothing and waits for
// nothing.

// Latest is the version name that means the newest version.
const Latest = "latest"

// Aliases are the names of a model's versions, and the split of requests without a
// version.
type Aliases struct {
	Names   map[string]string // from alias to version
	Default map[string]int    // from alias, version or latest to weight
}

// standing is what resolution knows of a version's state.
type standing uint8

const (
	// offered: it is loaded, loads on request, or says why it cannot at present.
	offered standing = iota
	// arriving: it appeared while others answered and has not loaded yet.
	arriving
	// out: its files are at fault, or it was unloaded on request.
	out
)

// candidate is a version from which resolution chooses.
type candidate interface {
	name() string
	standing() standing
}

// rules are the aliases of a model, prepared for requests. A nil *rules has none.
type rules struct {
	Aliases
	// kept has the former versions of aliases, which apply until their new versions
	// have loaded.
	kept   map[string]string
	shares []share
	total  uint64
}

// share is the weight of a name.
type share struct {
	name   string
	weight uint64
}

// newRules prepares aliases. Names with weight 0 get no requests.
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

// draw returns the name that answers a request without a version: drawn by weight
// or, without weights, Latest. Equal keys draw the same name. Without a key, random
// in [0, 1) decides. Names that cannot be served are drawn, too: their share belongs
// to no other name.
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

// target returns the version of an alias.
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

// choice is the result of resolve.
type choice struct {
	at      int    // index among the given versions; -1: it does not exist
	version string // the version of the name; empty: the name is unknown
}

// resolve returns the version of a name: an exact version, else an alias, else
// Latest. ranked is ordered by manifest.NewestFirst and not empty.
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

// indexOf returns the index of an exact version, or -1. A name that is not a
// semantic version is none.
func indexOf[C candidate](ranked []C, version string) int {
	for i, c := range ranked {
		if c.name() == version && manifest.ValidVersion(version) {
			return i
		}
	}
	return -1
}

// latest returns the newest version that is not out. An arriving one answers only if
// no other is offered. If there is neither, latest returns the newest one, which
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
