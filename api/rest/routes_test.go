package rest_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"

	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// actions are the actions of roles, and the public one.
var actions = []rest.Action{
	rest.ActionPublic, rest.ActionPredict, rest.ActionRead, rest.ActionMetrics, rest.ActionLearn, rest.ActionLoadModel,
	rest.ActionAliases, rest.ActionJobs, rest.ActionSamples, rest.ActionAdmin,
}

// unlisted returns the routes that only the router has, and those that only the
// table has.
func unlisted(s *rest.Server) []string {
	var listed, out []string
	for _, r := range s.Routes() {
		listed = append(listed, r.Method+" "+r.Path)
	}
	registered := s.Registered()
	for _, r := range registered {
		if !slices.Contains(listed, r) {
			out = append(out, r+" is not in the table")
		}
	}
	for _, r := range listed {
		if !slices.Contains(registered, r) {
			out = append(out, r+" is not registered")
		}
	}
	if len(registered) != len(listed) {
		out = append(out, fmt.Sprintf("%d routes are registered, %d listed", len(registered), len(listed)))
	}
	return out
}

// TestEveryRouteIsListed checks that the router has exactly the routes of the table,
// and that each route and each kind of messages has an action.
func TestEveryRouteIsListed(t *testing.T) {
	s := testkit.Serve(t, testkit.Options{Dir: t.TempDir()}).Server
	for _, wrong := range unlisted(s) {
		t.Error(wrong)
	}
	for _, r := range s.Routes() {
		if !slices.Contains(actions, r.Action) {
			t.Errorf("%s %s has the action %q", r.Method, r.Path, r.Action)
		}
		if inPath := strings.Contains(r.Path, "{model_id}"); inPath != (r.Model == rest.ModelInPath) {
			t.Errorf("%s %s: the table says %v of its model", r.Method, r.Path, r.Model)
		}
		for _, m := range r.Messages {
			if !slices.Contains(actions, m.Action) || m.Kind == "" {
				t.Errorf("%s takes messages %q with the action %q", r.Path, m.Kind, m.Action)
			}
		}
	}
	for _, a := range actions {
		if err := s.Check(rest.Route{Action: a, Messages: []rest.Message{{Action: a}}}); err != nil {
			t.Error(err)
		}
	}
	for _, r := range []rest.Route{{}, {Action: "walk"}, {Action: rest.ActionRead, Messages: []rest.Message{{}}}} {
		if s.Check(r) == nil {
			t.Errorf("%+v may be registered", r)
		}
	}
}

// TestAnUnlistedRouteIsNoticed checks that unlisted finds a route that is not in the
// table.
func TestAnUnlistedRouteIsNoticed(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: t.TempDir()})
	s, err := rest.New(rest.Config{Now: time.Now}, h.Registry, prometheus.NewRegistry()) // never serves
	if err != nil {
		t.Fatal(err)
	}
	if wrong := unlisted(s); wrong != nil {
		t.Errorf("%v", wrong)
	}
	s.Smuggle(http.MethodPut, "/api/v1/aliases")
	if wrong := unlisted(s); len(wrong) == 0 {
		t.Error("nothing is said of a route beside the table")
	}
}

// TestRoutesAreDescribed checks that the description has exactly the routes of the
// table, and that both say the same about each.
func TestRoutesAreDescribed(t *testing.T) {
	c, err := loadContract()
	if err != nil {
		t.Fatal(err)
	}
	h := testkit.Serve(t, testkit.Options{Dir: t.TempDir()})
	described := 0
	for _, item := range c.paths {
		described += len(item)
	}
	if listed := len(h.Server.Routes()); listed != described {
		t.Errorf("%d routes are listed, %d described", listed, described)
	}
	for _, r := range h.Server.Routes() {
		operation, ok := c.paths[r.Path][strings.ToLower(r.Method)].(map[string]any)
		if !ok {
			t.Errorf("%s %s is not described", r.Method, r.Path)
			continue
		}
		if err := c.agrees(r, operation); err != nil {
			t.Errorf("%s %s: %v", r.Method, r.Path, err)
		}
	}
	for _, file := range []string{"/openapi.json", "/openapi.yaml"} {
		resp, err := client(t).Get(h.URL + file)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		var doc struct{ OpenAPI string }
		if err != nil || yaml.Unmarshal(text, &doc) != nil || doc.OpenAPI != "3.1.0" {
			t.Errorf("%s: %v, OpenAPI %q", file, err, doc.OpenAPI)
		}
	}
}

// agrees returns how an operation's description differs from its entry in the table.
func (c *contract) agrees(r rest.Route, operation map[string]any) error {
	if a := operation["x-action"]; a != string(r.Action) {
		return fmt.Errorf("x-action is %v, the table says %s", a, r.Action)
	}
	var kinds []any
	for _, m := range r.Messages {
		kinds = append(kinds, map[string]any{"kind": m.Kind, "action": string(m.Action)})
	}
	if said, _ := operation["x-messages"].([]any); fmt.Sprint(said) != fmt.Sprint(kinds) {
		return fmt.Errorf("x-messages are %v, the table says %v", said, kinds)
	}
	body, has := operation["requestBody"].(map[string]any)
	if has != (r.Body == rest.JSONBody) {
		return fmt.Errorf("it has a body: %v; the table says %v", has, r.Body)
	}
	members := fmt.Sprint(c.followed(body))
	if inBody := strings.Contains(members, "model_id:"); inBody != (r.Model == rest.ModelInBody) {
		return fmt.Errorf("its body names a model: %v; the table says %v", inBody, r.Model)
	}
	responses := operation["responses"].(map[string]any)
	_, forbidden := responses["403"]
	_, unauthorized := responses["401"]
	_, limited := responses["429"]
	if !forbidden || !unauthorized || !limited {
		return fmt.Errorf("it answers 403: %v, 401: %v and 429: %v", forbidden, unauthorized, limited)
	}
	return nil
}

// followed returns the members of a body's schema, by name.
func (c *contract) followed(body map[string]any) map[string]any {
	content, _ := body["content"].(map[string]any)
	media, _ := content["application/json"].(map[string]any)
	schema, _ := media["schema"].(map[string]any)
	name, _ := schema["$ref"].(string)
	schema, _ = c.components[strings.TrimPrefix(name, "#/components/schemas/")].(map[string]any)
	members, _ := schema["properties"].(map[string]any)
	return members
}
