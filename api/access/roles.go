package access

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The built-in roles.
const (
	RoleViewer   = "viewer"
	RoleOperator = "operator"
	RoleAdmin    = "admin"
	// RoleController is the role of the deployer's controller: to read what hosts
	// count, and the rows that they keep, and to have those scored again.
	RoleController = "controller"
)

// maxName is the largest length of a role's name in bytes.
const maxName = 64

// Roles maps roles to the actions that they allow.
type Roles struct{ of map[string]Actions }

// NewRoles returns viewer, operator, admin and controller and the roles in own, whose values are
// lists of actions. A role in own cannot have the name of a built-in role.
func NewRoles(own map[string][]string) (*Roles, error) {
	view := Set(Predict, Read, Metrics)
	r := &Roles{map[string]Actions{
		RoleViewer:   view,
		RoleOperator: view | Set(LoadModel, Learn, Aliases, Jobs),
		RoleAdmin:    Set(AllActions()...),

		RoleController: Set(Read, Metrics, Samples),
	}}
	for _, name := range slices.Sorted(maps.Keys(own)) {
		if _, taken := r.of[name]; taken {
			return nil, fmt.Errorf("role %q exists already: viewer, operator, admin and controller cannot be changed; choose another name", name)
		}
		if !validName(name) {
			return nil, fmt.Errorf("role %.80q: its name must be 1 to %d lower-case letters, digits, - and _", name, maxName)
		}
		var set Actions
		for _, action := range own[name] {
			a, err := ParseAction(action)
			if err != nil {
				return nil, fmt.Errorf("role %q: %w", name, err)
			}
			set |= Set(a)
		}
		r.of[name] = set
	}
	return r, nil
}

func validName(name string) bool {
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return name != "" && len(name) <= maxName
}

// Names returns the names of the roles in order.
func (r *Roles) Names() []string { return slices.Sorted(maps.Keys(r.of)) }

// Actions returns the actions that the roles together allow. It fails if a role is
// unknown.
func (r *Roles) Actions(roles ...string) (Actions, error) {
	var set Actions
	for _, name := range roles {
		actions, ok := r.of[name]
		if !ok {
			return 0, fmt.Errorf("there is no role %.80q: the roles are %s; auth.roles adds others", name, strings.Join(r.Names(), ", "))
		}
		set |= actions
	}
	return set, nil
}
