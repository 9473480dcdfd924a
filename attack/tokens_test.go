package attack

import (
	"bytes"
	"compress/flate"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

// pemOf returns a public key as a file of PEM has it.
func pemOf(key any) []byte {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// tokens returns attacks with forged tokens.
func tokens() []attack {
	all := []attack{
		{name: "a good one", must: "200", text: get(modelsPath, withToken), want: []int{200}, token: func(s *site) string { return good(s, "looks") }},
		{name: "a good one, to load a model", must: "403: its role may not", text: post(modelsPath+"/own/load", "", withToken), want: []int{403}, token: func(s *site) string { return good(s, "looks") }},
		{name: "of a role that is not mapped", must: "403: it has no role", text: get(modelsPath, withToken), want: []int{403}, token: func(s *site) string { return good(s, "admin") }},
		{name: "in the query", must: "401: none is taken from a URL", text: get(modelsPath + "?access_token=$token&token=$token&api_key=$admin"), want: []int{401}, token: func(s *site) string { return good(s, "boss") }},
		{name: "in a cookie", must: "401", text: get(modelsPath, "Cookie: token=$token; access_token=$token\r\n"), want: []int{401}, token: func(s *site) string { return good(s, "boss") }},
		{name: "as a key", must: "401", text: get(modelsPath, "X-API-Key: $token\r\n"), want: []int{401}, token: func(s *site) string { return good(s, "boss") }},
		{name: "beside the key of another", must: "401: two people", text: get(modelsPath, withToken, asViewer), want: []int{401}, says: "different people", token: func(s *site) string { return good(s, "boss") }},
		{name: "forged, beside a good key", must: "401: a wrong credential is refused whatever else would do", text: get(modelsPath, withToken, asViewer), want: []int{401}, token: func(s *site) string { return es256(newEC(), byKey("a"), claimsOf(isGood, "boss")) }},
		{name: "of 15 KB", must: "401", text: get(modelsPath, withToken), want: []int{401}, token: func(s *site) string {
			return es256(newEC(), byKey("a"), claimsOf(isGood, "boss").with("x", strings.Repeat("x", 11<<10)))
		}},
		{name: "of 1 MB", must: "431", text: get(modelsPath, withToken), want: []int{431}, token: func(*site) string { return strings.Repeat("x", 1<<20) }},
	}
	for _, f := range append(append(headers(), claims()...), forms()...) {
		all = append(all, attack{name: f.name, must: "401", text: get(modelsPath, withToken), want: []int{401}, token: f.token})
	}
	return all
}

// forged is a token that must be refused.
type forged struct {
	name  string
	token func(s *site) string
}

// headers returns tokens whose headers choose how they are verified.
func headers() []forged {
	header := func(name string, changes ...any) forged {
		return forged{name, func(s *site) string {
			return es256(s.issuers.key, byKey("a").with(changes...), claimsOf(isGood, "boss"))
		}}
	}
	confused := func(name, public string) forged {
		return forged{"an HMAC by the public key: " + name, func(s *site) string {
			return hs256(publicKeys(s)[public], object{"alg": "HS256", "kid": "a"}, claimsOf(isRSA, "boss"))
		}}
	}
	all := []forged{
		{"without a signature, of the algorithm none", func(*site) string { return part(object{"alg": "none"}) + "." + part(claimsOf(isGood, "boss")) + "." }},
		{"of the algorithm nOnE, with a good signature", func(s *site) string {
			return es256(s.issuers.key, byKey("a").with("alg", "nOnE"), claimsOf(isGood, "boss"))
		}},
		{"without a signature", func(*site) string { return part(byKey("a")) + "." + part(claimsOf(isGood, "boss")) + "." }},
		{"with a signature of zeros", func(*site) string {
			return part(byKey("a")) + "." + part(claimsOf(isGood, "boss")) + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64))
		}},
		confused("a PEM file", "key"), confused("a certificate", "certificate"), confused("the JWK Set", "set"), confused("the modulus", "number"),
		{"an HMAC of nothing", func(*site) string { return hs256(nil, object{"alg": "HS256"}, claimsOf(isShared, "boss")) }},
		{"of an algorithm that the issuer does not use", func(s *site) string {
			return rs256(s.issuers.rsa, object{"alg": "RS256", "kid": "a"}, claimsOf(isGood, "boss"))
		}},
		{"of another's key", func(*site) string { return es256(newEC(), byKey("a"), claimsOf(isGood, "boss")) }},
		{"of another issuer's key", func(s *site) string { return hs256(s.secret, object{"alg": "HS256"}, claimsOf(isGood, "boss")) }},
		{"with its key in the header", func(s *site) string {
			key := newEC()
			point, _ := key.PublicKey.Bytes()
			jwk := object{"kty": "EC", "crv": "P-256", "x": base64.RawURLEncoding.EncodeToString(point[1:33]), "y": base64.RawURLEncoding.EncodeToString(point[33:])}
			return es256(key, object{"alg": "ES256", "jwk": jwk}, claimsOf(isGood, "boss"))
		}},
	}
	for _, kid := range []string{"../../../../dev/null", "/dev/null", "a' OR '1'='1", "a\x00", "a\nb", strings.Repeat("k", 4<<10)} {
		all = append(all, forged{fmt.Sprintf("whose kid is %.24q", kid), func(*site) string { return es256(newEC(), byKey(kid), claimsOf(isGood, "boss")) }})
	}
	return append(all, header("whose kid is a number", "kid", 1), header("whose kid is a list", "kid", []string{"a"}), header("with a critical extension", "crit", []string{"x"}, "x", true),
		header("without an algorithm", "alg", nil), header("whose algorithm is a list", "alg", []string{"ES256"}))
}

// claims returns signed tokens that are not for this host, or not now.
func claims() []forged {
	now := time.Now()
	claim := func(name string, changes ...any) forged {
		return forged{name, func(s *site) string {
			return es256(s.issuers.key, byKey("a"), claimsOf(isGood, "boss").with(changes...))
		}}
	}
	return []forged{
		claim("expired", "exp", now.Add(-time.Hour).Unix()), claim("expired a minute ago", "exp", now.Add(-time.Minute).Unix()), claim("not yet valid", "nbf", now.Add(time.Hour).Unix()),
		claim("without an end", "exp", nil), claim("whose end is text", "exp", "2099-01-01"), claim("whose end is no date", "exp", 1e300), claim("whose end is negative", "exp", -1),
		claim("for another audience", "aud", "shop"), claim("for no audience", "aud", nil), claim("for a list of other audiences", "aud", []string{"shop", "pynomaly2"}), claim("for an audience by a pattern", "aud", "*"),
		claim("of another issuer", "iss", "https://evil.example"), claim("of no issuer", "iss", nil), claim("of an issuer with a slash more", "iss", "https://good.example/"), claim("of two issuers", "iss", []string{"https://good.example", "https://evil.example"}),
		claim("without a subject", "sub", nil), claim("whose roles are an object", "roles", object{"boss": true}),
	}
}

// forms returns texts that are no tokens of the form that the host accepts.
func forms() []forged {
	bomb := func() string {
		var out bytes.Buffer
		w, _ := flate.NewWriter(&out, flate.BestCompression)
		_, _ = w.Write(bytes.Repeat([]byte("x"), 8<<20))
		_ = w.Close()
		return base64.RawURLEncoding.EncodeToString(out.Bytes())
	}
	twice := func(header, claims string) func(s *site) string {
		return func(s *site) string { return es256(newEC(), header, claims) }
	}
	return []forged{
		{"encrypted (JWE)", func(*site) string { return part(object{"alg": "dir", "enc": "A256GCM"}) + "..AAAA.AAAA.AAAA" }},
		{"encrypted and compressed, 8 MB", func(*site) string {
			return part(object{"alg": "dir", "enc": "A256GCM", "zip": "DEF"}) + "..AAAA." + bomb()[:8<<10] + ".AAAA"
		}},
		{"whose claims are compressed", func(s *site) string { return part(byKey("a").with("zip", "DEF")) + "." + bomb()[:8<<10] + ".AAAA" }},
		{"of thousands of parts", func(*site) string { return strings.Repeat("e30.", 3<<10) }},
		{"with the algorithm given twice", twice(`{"alg":"none","alg":"ES256","kid":"a"}`, `{"iss":"https://good.example"}`)},
		{"nested 4,000 deep", func(s *site) string { return es256(s.issuers.key, byKey("a"), strings.Repeat("[", 4000)) }},
		{"whose claims are no object", func(s *site) string { return es256(s.issuers.key, byKey("a"), "7") }},
		{"whose claims are not UTF-8", func(s *site) string { return es256(s.issuers.key, byKey("a"), "{\"iss\":\"\xff\"}") }},
		{"in JSON", func(s *site) string { return `{"payload":"` + part(claimsOf(isGood, "boss")) + `","signatures":[]}` }},
		{"two in one header", func(s *site) string { return good(s, "looks") + "," + good(s, "boss") }},
		{"with a signature of another's claims", func(s *site) string {
			p, q := strings.Split(good(s, "looks"), "."), strings.Split(good(s, "boss"), ".")
			return p[0] + "." + q[1] + "." + p[2]
		}},
	}
}

// sources returns attacks on, and by, the servers that have the keys of tokens.
func sources() []attack {
	broken := func(issuer, name string) attack {
		return attack{name: name, must: "unknown keys are refused with 401, known ones go on", run: func(t *testing.T, s *site) string { return s.lies(t, issuer) }}
	}
	short := func(s *site) string {
		return rs256(s.issuers.weak, object{"alg": "RS256", "kid": "short"}, claimsOf(isWeak, "boss"))
	}
	return []attack{
		{name: "2,000 unknown kids from 20 connections", must: "401 each; the source is asked at most twice more; good requests go on", run: func(t *testing.T, s *site) string { return s.flood(t) }},
		{name: "addresses of keys in a token (jku, x5u)", must: "401; nobody is asked", run: func(t *testing.T, s *site) string {
			before := s.issuers.count("steal")
			for _, header := range []string{"jku", "x5u"} {
				a := s.one(t, nil, get(modelsPath, "Authorization: Bearer "+es256(newEC(), byKey("a").with(header, s.issuers.server.URL+"/steal"), claimsOf(isGood, "boss"))+"\r\n"))
				if a.status != 401 {
					t.Errorf("%s: %v", header, a)
				}
			}
			if s.issuers.count("steal") > before {
				t.Error("the host asked where a token said")
			}
			return "401, and nothing was asked"
		}},
		broken(isSlow, "one that does not answer"), broken(isGarbage, "one that answers garbage"), broken(isFailing, "one that fails"), broken(isEndless, "one whose answer does not end"),
		broken(isAway, "one that redirects to plain HTTP"), broken(isEmptied, "one that has lost its keys"),
		{name: "one that was never there", must: "401", text: get(modelsPath, withToken), want: []int{401}, token: func(s *site) string { return es256(s.issuers.key, byKey("a"), claimsOf(isDown, "boss")) }},
		{name: "a set with an RSA key of 1024 bits", must: "401: such a key verifies nothing", text: get(modelsPath, withToken), want: []int{401}, token: short},
		{name: "a set with a symmetric key", must: "401: such a key verifies nothing", text: get(modelsPath, withToken), want: []int{401}, token: func(*site) string {
			return hs256([]byte("a key that the issuer publishes by mistake"), object{"alg": "HS256", "kid": "oct"}, claimsOf(isWeak, "boss"))
		}},
		{name: "the strong key beside those", must: "200", text: get(modelsPath, withToken), want: []int{200}, token: func(s *site) string {
			return rs256(s.issuers.rsa, object{"alg": "RS256", "kid": "a"}, claimsOf(isWeak, "looks"))
		}},
	}
}

// lies breaks a source of keys that was good, and makes the host ask it.
func (s *site) lies(t *testing.T, issuer string) string {
	known := "Authorization: Bearer " + es256(s.issuers.key, byKey("a"), claimsOf(issuer, "looks")) + "\r\n"
	unknown := "Authorization: Bearer " + es256(newEC(), byKey("b"), claimsOf(issuer, "boss")) + "\r\n"
	if a := s.one(t, nil, get(modelsPath, known)); a.status != 200 {
		t.Fatalf("before: %v", a)
	}
	s.issuers.breaks(issuer)
	asked := s.issuers.count(issuer)
	a := s.one(t, nil, get(modelsPath, unknown))
	if a.status != 401 {
		t.Errorf("an unknown key: %v", a)
	}
	s.Eventually("the source is asked", func() bool { return s.issuers.count(issuer) > asked })
	// A token that no cache has: the key itself must still be known.
	for _, sub := range []string{"bob", "carol"} {
		fresh := "Authorization: Bearer " + es256(s.issuers.key, byKey("a"), claimsOf(issuer, "looks").with("sub", sub)) + "\r\n"
		if a := s.one(t, nil, get(modelsPath, fresh)); a.status != 200 {
			t.Errorf("a known key: %v", a)
		}
	}
	return "401 for the unknown key, 200 for known ones"
}

// flood sends tokens of many unknown kids.
func (s *site) flood(t *testing.T) string {
	asked := s.issuers.count(isGood)
	key := newEC()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			c := s.source()
			var text strings.Builder
			for j := range 100 {
				text.WriteString(get(modelsPath, "Authorization: Bearer "+es256(key, byKey(fmt.Sprintf("kid-%d-%d", i, j)), claimsOf(isGood, "boss"))+"\r\n"))
			}
			all := s.rawFrom(t, c, text.String())
			if len(all) != 100 {
				t.Errorf("%d answers", len(all))
			}
			for _, a := range all {
				if a.status != 401 && a.status != 429 {
					t.Errorf("%v", a)
				}
			}
		})
	}
	for range 20 {
		if failure := hosttest.Ask(hosttest.KeepAlive(), s.URL, hosttest.GoodBody); !strings.Contains(failure, "401") { // nobody's, who must be answered as well
			t.Errorf("nobody: %s", failure)
		}
		if a := s.one(t, nil, get(modelsPath, "Authorization: Bearer "+good(s, "looks")+"\r\n")); a.status != 200 {
			t.Errorf("a good token meanwhile: %v", a)
		}
	}
	wg.Wait()
	if n := s.issuers.count(isGood) - asked; n > 2 {
		t.Errorf("the source was asked %d times", n)
	}
	return "all refused; the source was asked at most twice"
}
