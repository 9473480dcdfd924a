package attack

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// route is a route that the host describes.
type route struct{ method, path, action string }

// routes returns all routes that the host describes. TestEveryRouteIsListed compares
// the description with the router.
func (s *site) routes(t *testing.T) []route {
	t.Helper()
	a := s.one(t, nil, get("/openapi.json", shown(s.admin)))
	var described struct {
		Paths map[string]map[string]struct {
			Action string `json:"x-action"`
		}
	}
	check(t, json.Unmarshal([]byte(a.text), &described))
	var all []route
	for _, path := range slices.Sorted(maps.Keys(described.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(described.Paths[path])) {
			if action := described.Paths[path][method].Action; action != "" {
				all = append(all, route{strings.ToUpper(method), path, action})
			}
		}
	}
	if len(all) < 16 {
		t.Fatalf("only %d routes are described", len(all))
	}
	return all
}

// request returns a request of a route that names a model.
func (r route) request(id, header string) string {
	body := ""
	if r.method == "POST" {
		row := "[8, 155, 62, 26, 495, 34, 0.543, 46]"
		if r.path != predictPath { // the others take many
			row = "[" + row + "]"
		}
		body = fmt.Sprintf(`{"model_id": %q, "data": %s}`, id, row)
		if strings.Contains(r.path, "{model_id}") { // the path names it
			body = fmt.Sprintf(`{"data": %s}`, row)
		}
	}
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s", r.method, strings.ReplaceAll(r.path, "{model_id}", id), header, len(body), body)
}

// roles tries every role on every route.
func roles() []attack {
	viewer := []string{"predict", "read", "metrics"}
	operator := append(slices.Clone(viewer), "load_model", "learn", "aliases", "jobs")
	everything := append(slices.Clone(operator), "samples", "admin")
	role := func(name, must string, actions []string, header func(s *site) string) attack {
		return attack{name: name, must: must, run: func(t *testing.T, s *site) string { return s.everyRoute(t, actions, header(s), 403) }}
	}
	key := func(of func(s *site) string) func(s *site) string {
		return func(s *site) string { return shown(of(s)) }
	}
	token := func(role string) func(s *site) string {
		return func(s *site) string { return "Authorization: Bearer " + good(s, role) + "\r\n" }
	}
	return []attack{
		{name: "nobody on every route", must: "401, but on public ones", run: func(t *testing.T, s *site) string { return s.everyRoute(t, nil, "", 401) }},
		role("a viewer's key on every route", "403 where it may not", viewer, key(func(s *site) string { return s.viewer })),
		role("an operator's key on every route", "403 where it may not", operator, key(func(s *site) string { return s.operator })),
		role("an admin's key on every route", "everything", everything, key(func(s *site) string { return s.admin })),
		role("a viewer's token on every route", "403 where it may not", viewer, token("looks")),
		role("an operator's token on every route", "403 where it may not", operator, token("runs")),
		role("a token of two roles, one unknown, on every route", "403 where the known one may not", viewer, func(s *site) string {
			return "Authorization: Bearer " + good(s, "looks", "admin", "root") + "\r\n"
		}),
		{name: "a token without the models claim on every route", must: "it sees no model", run: func(t *testing.T, s *site) string {
			header := "Authorization: Bearer " + es256(s.issuers.key, byKey("a"), claimsOf(isGood, "boss").with("models", nil)) + "\r\n"
			return s.noModel(t, header)
		}},
		{name: "methods that no route has", must: "405, and nothing is done", run: func(t *testing.T, s *site) string { return s.methods(t) }},
	}
}

// everyRoute asks every route and compares whether the caller is let in with the
// actions that it may do.
func (s *site) everyRoute(t *testing.T, actions []string, header string, refusal int) string {
	in, out := 0, 0
	for _, r := range s.routes(t) {
		a := s.one(t, nil, r.request("own", header))
		public := r.action == "public" || r.path == "/metrics" // auth.public
		let := a.status != 401 && a.status != 403
		if want := public || slices.Contains(actions, r.action); let != want || !let && a.status != refusal {
			t.Errorf("%s %s (%s): %v", r.method, r.path, r.action, a)
		}
		if let {
			in++
		} else {
			out++
		}
	}
	s.one(t, nil, post(modelsPath+"/own/load", "", shown(s.admin)))
	s.Serves("own")
	if out == 0 {
		return fmt.Sprintf("let in on all %d", in)
	}
	return fmt.Sprintf("let in on %d, refused with %d on %d", in, refusal, out)
}

// noModel asks every route that names a model.
func (s *site) noModel(t *testing.T, header string) string {
	for _, r := range s.routes(t) {
		a := s.one(t, nil, r.request("own", header))
		if named := strings.Contains(r.path, "{model_id}") || r.action == "predict" && r.method == "POST"; named && a.status != 404 {
			t.Errorf("%s %s: %v", r.method, r.path, a)
		}
		if strings.Contains(a.text, `"own"`) && a.status == 200 {
			t.Errorf("%s %s names the model: %.300s", r.method, r.path, a.text)
		}
	}
	return "404 wherever a model is named"
}

// methods sends methods that no route has, as an admin.
func (s *site) methods(t *testing.T) string {
	for _, method := range []string{"PUT", "PATCH", "TRACE", "CONNECT", "PROPFIND", "DEBUG", "load", "GETX"} {
		for _, path := range []string{modelsPath + "/own/unload", predictPath, "/health"} {
			a := s.one(t, nil, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%sX-HTTP-Method-Override: DELETE\r\nX-HTTP-Method: DELETE\r\nX-Method-Override: DELETE\r\nContent-Length: 0\r\n\r\n", method, path, shown(s.admin)))
			if a.status != 405 && a.status != 404 && a.status != 400 {
				t.Errorf("%s %s: %v", method, path, a)
			}
		}
	}
	if v := s.Version("own"); v == nil || v.Status != "loaded" {
		t.Errorf("the model is %+v", v)
	}
	return "405"
}
