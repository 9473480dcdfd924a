package config

import (
	y "github.com/pynomaly/pynomaly-runtime/internal/strictyaml"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// Alias names versions of a model and divides requests that name no version.
type Alias struct {
	Names   map[string]string
	Default map[string]int
}

func (m *Models) alias(id string) y.Field {
	a := Alias{Names: map[string]string{}, Default: map[string]int{}}
	m.Aliases[id] = a
	return y.Object(y.Fields{
		"names":   y.Map(func(name string) y.Field { return into(a.Names, name, y.String) }),
		"default": y.Map(func(name string) y.Field { return into(a.Default, name, y.Int) }),
	})
}

// maxWeight is the largest weight in models.aliases.
const maxWeight = 1000000

// check checks the aliases of a model. A name must stand for a version, not for
// another name, so that there are no circles, and a name must not look like a
// version.
func (a *Alias) check(at string, problem func(path, format string, args ...any)) {
	for name, version := range a.Names {
		switch path := at + ".names." + name; {
		case name == latest:
			problem(path, "is the name of the newest version; choose another one")
		case manifest.ValidVersion(name):
			problem(path, "is the name of a version; choose another one")
		case !manifest.ValidVersion(version):
			problem(path, "is %q; must be a version such as 1.2.0, and not an alias", version)
		}
	}
	sum := 0
	for name, weight := range a.Default {
		path := at + ".default." + name
		if weight < 0 || weight > maxWeight {
			problem(path, "is %d; must be 0 to %d", weight, maxWeight)
		}
		if _, alias := a.Names[name]; !alias && name != latest && !manifest.ValidVersion(name) {
			problem(path, "is neither a version nor one of the names")
		}
		sum += max(0, weight)
	}
	if len(a.Default) > 0 && sum == 0 {
		problem(at+".default", "gives no version a weight: no version would answer")
	}
}

// latest is the name of the newest version.
const latest = "latest"
