package render_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
)

// verbsTable returns the controller's permissions as a table for people.
func verbsTable(t *testing.T) string {
	t.Helper()
	where := map[string]string{"ClusterRole " + render.ControllerName: "everywhere", "ClusterRole " + render.ModelsRole: "in the namespaces of environments", "Role " + render.ControllerName: "in its own namespace"}
	var b strings.Builder
	b.WriteString("| where | resources | verbs |\n| --- | --- | --- |\n")
	rows := 0
	write := func(kind, name string, rules []rbacv1.PolicyRule) {
		place := where[kind+" "+name]
		if place == "" {
			return
		}
		for _, r := range rules {
			var resources []string
			for _, resource := range r.Resources {
				if r.APIGroups[0] != "" {
					resource += "." + r.APIGroups[0]
				}
				resources = append(resources, "`"+resource+"`")
			}
			only := ""
			if len(r.ResourceNames) > 0 {
				only = " named `" + strings.Join(r.ResourceNames, "`, `") + "`"
			}
			fmt.Fprintf(&b, "| %s | %s%s | %s |\n", place, strings.Join(resources, ", "), only, strings.Join(r.Verbs, ", "))
			rows++
		}
	}
	for _, o := range (render.System{Namespace: "pynomaly-system"}).Objects() {
		switch r := o.(type) {
		case *rbacv1.ClusterRole:
			write("ClusterRole", r.Name, r.Rules)
		case *rbacv1.Role:
			write("Role", r.Name, r.Rules)
		}
	}
	if rows == 0 {
		t.Fatal("the controller may do nothing")
	}
	return b.String()
}

// TestVerbsTable checks that the table in the guide matches the roles.
func TestVerbsTable(t *testing.T) {
	const file, begin, end = "../../docs/security.md", "<!-- verbs -->\n", "<!-- end of verbs -->"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	was, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", file)
	}
	want := verbsTable(t)
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if was != want {
		t.Errorf("%s: the table of verbs is not that of the roles: run go test ./deployer/render -update", file)
	}
}

// TestNoWildcards checks that no role has a wildcard and that none may write
// Deployments in all namespaces.
func TestNoWildcards(t *testing.T) {
	for _, o := range (render.System{Namespace: "pynomaly-system", Environments: true}).Objects() {
		role, ok := o.(*rbacv1.ClusterRole)
		if !ok {
			continue
		}
		for _, r := range role.Rules {
			if all := strings.Join(append(append(append([]string{}, r.Verbs...), r.Resources...), r.APIGroups...), " "); strings.Contains(all, "*") {
				t.Errorf("%s: %v", role.Name, r)
			}
		}
	}
	bound := map[string]string{}
	for _, o := range (render.System{Namespace: "pynomaly-system", Environments: true}).Objects() {
		switch b := o.(type) {
		case *rbacv1.ClusterRoleBinding:
			bound[b.RoleRef.Name] += " everywhere"
		case *rbacv1.RoleBinding:
			bound[b.RoleRef.Name] += " " + b.Namespace
		}
	}
	if got := bound[render.ModelsRole]; got != " pynomaly-development pynomaly-staging pynomaly-production" {
		t.Errorf("%s is bound in%s", render.ModelsRole, got)
	}
}
