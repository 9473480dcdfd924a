package attack

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// keys returns attacks with keys.
func keys() []attack {
	all := []attack{
		{name: "none", must: "401", text: get(modelsPath), want: []int{401}},
		{name: "a good one", must: "200", text: get(modelsPath, asViewer), want: []int{200}},
		{name: "a good one as a token", must: "200", text: get(modelsPath, "Authorization: Bearer $viewer\r\n"), want: []int{200}},
		{name: "the same twice", must: "200", text: get(modelsPath, asViewer, "Authorization: Bearer $viewer\r\n"), want: []int{200}},
		{name: "two people's", must: "401", text: get(modelsPath, asViewer, asAdmin), want: []int{401}, says: "different people"},
		{name: "the same ten times", must: "401", text: get(modelsPath, strings.Repeat(asViewer, 10)), want: []int{401}},
		{name: "in the query", must: "401: none is taken from a URL", text: get(modelsPath + "?api_key=$admin&X-API-Key=$admin&key=$admin"), want: []int{401}},
		{name: "in the body", must: "401", text: post(predictPath, `{"api_key": "x", "model_id": "own", "data": [1]}`), want: []int{401}},
		{name: "of another's model", must: "404: the model does not exist for it", text: get(modelsPath+"/other", asOwn), want: []int{404}},
		{name: "to predict by another's model", must: "404", text: post(predictPath, `{"model_id": "other", "data": [1]}`, asOwn), want: []int{404}},
		{name: "of another's model, told from one that does not exist", must: "answers differ in the name alone", run: func(t *testing.T, s *site) string { return s.sameAnswers(t) }},
		{name: "in lists and metrics, of another's model", must: "not named", run: func(t *testing.T, s *site) string { return s.notListed(t) }},
		{name: "of another's model on a WebSocket", must: "the model does not exist for it", run: func(t *testing.T, s *site) string { return s.socketOfAnother(t) }},
		{name: "2,000 guesses from one address", must: "20 times 401, then 429 with Retry-After; the good key of the same address gets in", run: func(t *testing.T, s *site) string { return s.guess(t, "") }},
		{name: "2,000 guesses, each forwarded for another address", must: "the same: nobody said that this proxy is trusted", run: func(t *testing.T, s *site) string { return s.guess(t, "X-Forwarded-For: 198.51.100.%d\r\n") }},
		{name: "the time that a wrong secret takes, and a wrong id", must: "medians of 1,200 differ by less than a fifth", run: func(t *testing.T, s *site) string { return s.timing(t) }},
		{name: "revoked while a WebSocket is open", must: "401, and the connection ends with its next message", run: func(t *testing.T, s *site) string { return s.revoked(t) }},
		{name: "expired", must: "401", run: func(t *testing.T, s *site) string { return s.expired(t) }},
	}
	var others []attack
	for name, change := range map[string]func(key string) string{
		"without its secret": func(k string) string { return k[:strings.LastIndex(k, "_")+1] }, "without its last letter": func(k string) string { return k[:len(k)-1] },
		"with a letter more": func(k string) string { return k + "a" }, "in capitals": strings.ToUpper, "with another id": func(k string) string { return "pyn_aaaaaaaa" + k[12:] },
		"with its SHA-256 as the secret": func(k string) string {
			at := strings.LastIndex(k, "_") + 1
			return fmt.Sprintf("%s%x", k[:at], sha256.Sum256([]byte(k[at:])))
		},
		"with a NUL": func(k string) string { return k + "\x00" }, "twice in a line": func(k string) string { return k + "," + k }, "of 14 KB": func(k string) string { return k + strings.Repeat("A", 14<<10) }, "a pattern": func(string) string { return "pyn_*" },
	} {
		others = append(others, attack{name: name, must: "refused", run: func(t *testing.T, s *site) string {
			a := s.one(t, nil, get(modelsPath, shown(change(s.admin))))
			if a.status != 401 && a.status != 400 {
				t.Errorf("%v", a)
			}
			return a.String()
		}})
	}
	for name, value := range map[string]string{"Basic": "Basic $basic", "Digest": "Digest username=\"admin\"", "no scheme": "$admin", "an empty token": "Bearer ", "Bearer twice": "Bearer Bearer $admin"} {
		others = append(others, attack{name: "as Authorization of another form: " + name, must: "401", text: get(modelsPath, "Authorization: "+strings.ReplaceAll(value, "$basic", base64.StdEncoding.EncodeToString([]byte("admin:admin")))+"\r\n"), want: []int{401}})
	}
	slices.SortFunc(others, func(a, b attack) int { return strings.Compare(a.name, b.name) })
	return append(all, others...)
}

// sameAnswers compares, on every route of a model, what a key that does not see the
// model is told of it with what it is told of one that does not exist.
func (s *site) sameAnswers(t *testing.T) string {
	n := 0
	for _, r := range s.routes(t) {
		if !strings.Contains(r.path, "{model_id}") {
			continue
		}
		n++
		told := func(id string) string {
			a := s.one(t, nil, r.request(id, shown(s.own)))
			p := a.problem()
			return fmt.Sprintf("%d %s %s %s", a.status, p.ErrorType, strings.ReplaceAll(p.Detail, id, "<id>"), a.header.Get("Content-Type"))
		}
		if hidden, none := told("other"), told("never"); hidden != none {
			t.Errorf("%s %s: a hidden model: %s; none: %s", r.method, r.path, hidden, none)
		}
	}
	return fmt.Sprintf("the same on %d routes", n)
}

func (s *site) notListed(t *testing.T) string {
	for _, path := range []string{modelsPath, "/metrics", "/ready", "/health"} {
		if a := s.one(t, nil, get(path, shown(s.own))); a.status != 200 || strings.Contains(a.text, `"other"`) {
			t.Errorf("%s: %d %.300s", path, a.status, a.text)
		}
	}
	return "not named"
}

func (s *site) socketOfAnother(t *testing.T) string {
	c, status := s.socket(t, http.Header{"X-Api-Key": {s.own}})
	if status != http.StatusSwitchingProtocols {
		t.Fatalf("opening: %d", status)
	}
	got, err := message(t, c, `{"model_id": "other", "data": [1]}`)
	if err != nil || !strings.Contains(got, "ModelNotFound") {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := message(t, c, ownBody); err != nil || !strings.Contains(got, `"prediction":`) {
		t.Errorf("its own: %s, %v", got, err)
	}
	return "ModelNotFound"
}

// guess sends wrong keys from one address.
func (s *site) guess(t *testing.T, forwarded string) string {
	from, id := s.source(), strings.Split(s.admin, "_")[1]
	var text strings.Builder
	for i := range 2000 {
		extra := forwarded
		if extra != "" {
			extra = fmt.Sprintf(forwarded, i%250+1)
		}
		text.WriteString(get(modelsPath, shown(fmt.Sprintf("pyn_%s_%043d", id, i)), extra))
	}
	counts, began := map[int]int{}, time.Now()
	for _, a := range s.rawFrom(t, from, text.String()) {
		counts[a.status]++
		if a.status == 429 && a.header.Get("Retry-After") == "" {
			t.Errorf("429 without Retry-After: %v", a.header)
		}
	}
	more := int(time.Since(began)/(3*time.Second)) + 1 // one more every 3 s
	if counts[401] < 20 || counts[401] > 20+more || counts[401]+counts[429] != 2000 {
		t.Errorf("%v", counts)
	}
	if a := s.one(t, from, get(modelsPath, shown(s.viewer))); a.status != 200 {
		t.Errorf("the good key: %v", a)
	}
	return "401, then 429; the good key 200"
}

// timing compares how long the host takes to refuse a good id with a wrong secret, and
// a wrong id. On a busy machine the medians differ by chance, but not in every round.
func (s *site) timing(t *testing.T) string {
	const rounds = 5
	for round := 1; ; round++ {
		medians := s.refusals(t)
		if ratio := float64(medians[0]) / float64(medians[1]); ratio >= 0.8 && ratio <= 1.25 {
			return "they do"
		}
		if round == rounds {
			t.Fatalf("medians of %v, the last of %d rounds that differed", medians, rounds)
		}
	}
}

// refusals returns the median times of both refusals.
func (s *site) refusals(t *testing.T) []time.Duration {
	t.Helper()
	id := strings.Split(s.admin, "_")[1]
	kinds := []string{"pyn_" + id + "_" + strings.Repeat("A", 43), "pyn_zzzzzzzz_" + strings.Repeat("A", 43)}
	took := make([][]time.Duration, len(kinds))
	for range 120 { // each address has 20 refusals before it is limited
		c := s.dial(t, nil)
		reader := bufio.NewReader(c)
		for i := range 20 {
			kind := i % len(kinds)
			text := get(modelsPath, shown(kinds[kind]))
			began := time.Now()
			_, err := io.WriteString(c, text)
			check(t, err)
			a, err := read(reader)
			check(t, err)
			took[kind] = append(took[kind], time.Since(began))
			if a.status != 401 {
				t.Fatalf("%v", a)
			}
		}
		_ = c.Close()
	}
	var medians []time.Duration
	for _, all := range took {
		slices.Sort(all)
		medians = append(medians, all[len(all)/2])
	}
	return medians
}

// revoked revokes a key while a WebSocket is open that was opened with it.
func (s *site) revoked(t *testing.T) string {
	key := s.key(t, "--role", "viewer")
	s.Eventually("the key is known", func() bool { return s.one(t, nil, get(modelsPath, shown(key))).status == 200 })
	c, status := s.socket(t, http.Header{"Sec-Websocket-Protocol": {"bearer, " + key}})
	if status != http.StatusSwitchingProtocols {
		t.Fatalf("opening: %d", status)
	}
	if got, err := message(t, c, ownBody); err != nil || !strings.Contains(got, `"prediction":`) {
		t.Fatalf("before: %s, %v", got, err)
	}
	_, err := s.command(t, "key", "revoke", strings.Split(key, "_")[1], "--file", s.keys)
	check(t, err)
	began := time.Now()
	s.Eventually("the key is refused", func() bool { return s.one(t, nil, get(modelsPath, shown(key))).status == 401 })
	took := time.Since(began)
	got, err := message(t, c, ownBody)
	if err == nil && !strings.Contains(got, "Unauthorized") {
		t.Errorf("the WebSocket answers %s", got)
	}
	if err == nil {
		if _, _, err = c.ReadMessage(); err == nil {
			t.Error("the WebSocket goes on")
		}
	}
	if took > 2*time.Second {
		t.Logf("it took %v", took) // on a machine that is busy
	}
	return "401; the WebSocket ended"
}

func (s *site) expired(t *testing.T) string {
	key := s.key(t, "--role", "admin", "--expires", "1s")
	s.Eventually("the key has expired", func() bool { return s.one(t, nil, get(modelsPath, shown(key))).problem().Detail != "" })
	a := s.one(t, nil, get(modelsPath, shown(key)))
	s.Eventually("the refusal is that of an expired key", func() bool {
		a = s.one(t, nil, get(modelsPath, shown(key)))
		return a.status == 401 && strings.Contains(a.text, "expired")
	})
	return a.String()
}
