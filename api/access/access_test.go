package access_test

import (
	"errors"
	"path"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pynomaly/pynomaly-runtime/api/access"
)

// principal returns a principal that has the roles and sees the models.
func principal(t rapid.TB, r *access.Roles, models []string, roles ...string) *access.Principal {
	t.Helper()
	actions, err := r.Actions(roles...)
	if err != nil {
		t.Fatal(err)
	}
	seen := access.AllModels()
	if models != nil {
		if seen, err = access.ParseModels(models); err != nil {
			t.Fatal(err)
		}
	}
	return &access.Principal{Kind: access.Key, ID: "abcdefgh", Roles: roles, Actions: actions, Models: seen}
}

// allowed is the table of roles and actions.
func allowed() map[string]string {
	return map[string]string{
		"viewer":   "predict read metrics",
		"operator": "predict read metrics learn load_model aliases jobs",
		"admin":    "predict read metrics learn load_model aliases jobs samples admin",
		"sampler":  "read samples",

		"controller": "read metrics samples",
		"nothing":    "",
	}
}

// TestDecide tries every role and every action on the principal's own model, on
// another's and on none.
func TestDecide(t *testing.T) {
	roles, err := access.NewRoles(map[string][]string{"sampler": {"samples", "read"}, "nothing": nil})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(access.AllActions()); got != 9 {
		t.Fatalf("there are %d actions", got)
	}
	if got := roles.Names(); len(got) != len(allowed()) {
		t.Fatalf("the roles are %q", got)
	}
	for role, actions := range allowed() {
		p := principal(t, roles, []string{"own", "mine-*"}, role)
		for _, action := range access.AllActions() {
			may := slices.Contains(strings.Fields(actions), action.String())
			for model, seen := range map[string]bool{"": true, "own": true, "mine-1": true, "other": false, "owner": false, "mine": false} {
				var want error
				switch {
				case !seen:
					want = access.ErrHidden
				case !may:
					want = access.ErrForbidden
				}
				err := access.Decide(p, action, model)
				var refusal *access.Error
				if !errors.Is(err, want) || want != nil && (!errors.As(err, &refusal) || refusal.Public == "" || refusal.Reason == "") {
					t.Errorf("%s, %s, model %q: %v, want %v", role, action, model, err, want)
				}
			}
		}
	}
	for _, action := range access.AllActions() {
		for _, model := range []string{"", "own"} {
			if err := access.Decide(nil, action, model); !errors.Is(err, access.ErrUnauthenticated) {
				t.Errorf("nobody, %s: %v", action, err)
			}
		}
	}
	for _, none := range []access.Action{0, 10, 15, 16, 17, 255} {
		if err := access.Decide(principal(t, roles, nil, "admin"), none, ""); !errors.Is(err, access.ErrForbidden) {
			t.Errorf("%v: %v", none, err)
		}
	}
}

// TestRoles checks that taken names and unknown actions are refused.
func TestRoles(t *testing.T) {
	for want, own := range map[string]map[string][]string{
		"cannot be changed":          {"admin": {"read"}},
		"its name must be":           {"Big Boss": {"read"}},
		`did you mean "predict"?`:    {"x": {"predcit"}},
		"the actions are predict, r": {"x": {""}},
	} {
		if _, err := access.NewRoles(own); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", own, err, want)
		}
	}
	roles, err := access.NewRoles(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := roles.Actions("viewer", "owner"); err == nil || !strings.Contains(err.Error(), "admin, controller, operator, viewer") {
		t.Error(err)
	}
	if got, err := roles.Actions(); got != 0 || err != nil {
		t.Errorf("no role allows %v, %v", got, err)
	}
}

// TestModels checks patterns against those of package path, and that malformed
// patterns are refused.
func TestModels(t *testing.T) {
	for _, bad := range []string{"", "a b", "a/b", "[a]", "é", "a\n", strings.Repeat("a", 129)} {
		if _, err := access.ParseModels([]string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if _, err := access.ParseModels(slices.Repeat([]string{"a"}, 257)); err == nil {
		t.Error("257 patterns were taken")
	}
	rapid.Check(t, func(t *rapid.T) {
		patterns := rapid.SliceOfN(rapid.StringMatching(`[ab*?]{1,8}`), 0, 4).Draw(t, "patterns")
		id := rapid.StringMatching(`[abc]{1,10}`).Draw(t, "id")
		m, err := access.ParseModels(patterns)
		if err != nil {
			t.Fatal(err)
		}
		want := slices.ContainsFunc(patterns, func(p string) bool { ok, _ := path.Match(p, id); return ok })
		if got := m.Match(id); got != want {
			t.Fatalf("%q in %q: %v", id, patterns, got)
		}
	})
}

// TestDecideHolds checks that more roles never allow less, and that no role shows a
// model that is not granted.
func TestDecideHolds(t *testing.T) {
	roles, err := access.NewRoles(nil)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOf(rapid.SampledFrom(roles.Names()))
		few, more := names.Draw(t, "few"), names.Draw(t, "more")
		patterns := rapid.SliceOfN(rapid.StringMatching(`[ab*?]{1,4}`), 0, 3).Draw(t, "patterns")
		if patterns == nil {
			patterns = []string{}
		}
		action := rapid.SampledFrom(access.AllActions()).Draw(t, "action")
		model := rapid.StringMatching(`[ab]{1,4}`).Draw(t, "model")
		p := principal(t, roles, patterns, few...)
		q := principal(t, roles, patterns, append(slices.Clone(few), more...)...)
		if access.Decide(p, action, model) == nil && access.Decide(q, action, model) != nil {
			t.Fatalf("%q may, %q may not", p.Roles, q.Roles)
		}
		if !p.Models.Match(model) && !errors.Is(access.Decide(q, action, model), access.ErrHidden) {
			t.Fatalf("%s shows itself", model)
		}
	})
}

func TestDecideAllocatesNothing(t *testing.T) {
	roles, err := access.NewRoles(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := principal(t, roles, []string{"fraud*", "cardio"}, "viewer")
	if n := testing.AllocsPerRun(100, func() {
		_ = access.Decide(p, access.Predict, "fraud-eu")
		_ = access.Decide(p, access.Admin, "cardio")
		_ = access.Decide(p, access.Predict, "other")
		_ = access.Decide(nil, access.Predict, "other")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
