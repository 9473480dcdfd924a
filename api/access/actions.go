package access

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pynomaly/pynomaly-runtime/internal/nearest"
)

// Action is something that a principal may be allowed to do. Nobody may do the zero
// value.
type Action uint8

// The actions.
const (
	Predict Action = 1 + iota
	Read
	Metrics
	Learn
	LoadModel
	Aliases
	Jobs
	Samples
	Admin
	end
)

// names returns the actions' names in order.
func names() [end]string {
	return [end]string{"", "predict", "read", "metrics", "learn", "load_model", "aliases", "jobs", "samples", "admin"}
}

// String returns the action's name in lists of roles.
func (a Action) String() string {
	if a == 0 || a >= end {
		return fmt.Sprintf("Action(%d)", uint8(a))
	}
	return names()[a]
}

// AllActions returns the actions in order.
func AllActions() []Action {
	var out []Action
	for a := Predict; a < end; a++ {
		out = append(out, a)
	}
	return out
}

// ParseAction parses an action's name.
func ParseAction(name string) (Action, error) {
	all := names()
	if i := slices.Index(all[1:], name); i >= 0 {
		return Action(i + 1), nil
	}
	return 0, fmt.Errorf("there is no action %.60q%s: the actions are %s", name, nearest.Hint(name, all[1:]), strings.Join(all[1:], ", "))
}

// Actions is a set of actions.
type Actions uint16

// Set returns a set of actions.
func Set(actions ...Action) Actions {
	var s Actions
	for _, a := range actions {
		if a != 0 && a < end {
			s |= 1 << a
		}
	}
	return s
}

// Has reports whether the set has the action.
func (s Actions) Has(a Action) bool { return a != 0 && a < end && s&(1<<a) != 0 }
