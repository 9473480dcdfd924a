package registry

import (
	"fmt"
	"maps"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// Named is what a configuration names.
type Named struct {
	Default string             // the model that answers requests without a model
	Preload []string           // models loaded before the host is ready; "*" is every one
	Pinned  []string           // models that are never evicted; "*" is every one
	Only    []Only             // the versions to serve; empty: all that are found. The host is ready when each has loaded
	Aliases map[string]Aliases // by model
}

// Problem is something that the configuration requests but the registry lacks.
type Problem struct {
	ID  string // of the model
	Why string
}

// Missing returns what is named but missing, given the existing versions of each
// model.
func (n *Named) Missing(versions map[string][]string) []Problem {
	var out []Problem
	for _, o := range n.Only {
		if !slices.Contains(versions[o.ID], o.Version) {
			out = append(out, Problem{o.ID, fmt.Sprintf("models.only names %s@%s, which is not there", o.ID, o.Version)})
		}
	}
	model := func(key, id string) {
		if _, ok := versions[id]; !ok {
			out = append(out, Problem{id, fmt.Sprintf("%s names model %s, which is not there", key, id)})
		}
	}
	if n.Default != "" {
		model("models.default", n.Default)
	}
	for _, id := range n.Preload {
		if id != every {
			model("models.preload", id)
		}
	}
	for _, id := range n.Pinned {
		if id != every {
			model("models.pinned", id)
		}
	}
	for _, id := range sortedKeys(n.Aliases) {
		out = append(out, n.Aliases[id].missing(id, versions[id])...)
	}
	return out
}

// every is the name for all models.
const every = "*"

// missing returns the problems of a model's aliases, given its versions.
func (a Aliases) missing(id string, versions []string) []Problem {
	if len(versions) == 0 {
		return []Problem{{id, fmt.Sprintf("models.aliases names model %s, which is not there", id)}}
	}
	var out []Problem
	say := func(format string, args ...any) { out = append(out, Problem{id, fmt.Sprintf(format, args...)}) }
	for _, alias := range sortedKeys(a.Names) {
		version := a.Names[alias]
		switch {
		case has(versions, alias):
			say("alias %s of model %s is never used: a version has that name", alias, id)
		case !has(versions, version):
			say("alias %s of model %s stands for version %s, which is not there: there are %s", alias, id, version, joinSome(versions))
		}
	}
	for _, name := range sortedKeys(a.Default) {
		if _, alias := a.Names[name]; !alias && name != Latest && !has(versions, name) {
			say("models.aliases splits requests for model %s between versions, and %s is neither a version that is there nor an alias", id, name)
		}
	}
	return out
}

// stands returns the versions of the names, without duplicates.
func (a Aliases) stands() []string {
	out := slices.Collect(maps.Values(a.Names))
	for name := range a.Default {
		if _, alias := a.Names[name]; !alias && manifest.ValidVersion(name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func has(versions []string, version string) bool {
	return manifest.ValidVersion(version) && slices.Contains(versions, version)
}

// any reports whether anything is named.
func (n *Named) any() bool {
	return n.Default != "" || len(n.Preload)+len(n.Pinned)+len(n.Only)+len(n.Aliases) > 0
}
