package config_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
)

func TestAccess(t *testing.T) {
	c, err := config.Decode([]byte(`
server: {trusted_proxies: [10.0.0.0/8, "::1"], tls: {cert: a, key: b, client_ca: c}}
auth:
  mode: on
  keys: keys.yaml
  public: []
  jwt:
    - {issuer: i, audience: a, jwks: "https://id.example.com/keys", algorithms: [ES256, RS256], claims: {roles: realm_access.roles, models: models}, roles: {boss: admin, looks: sampler}}
    - {issuer: i, audience: b, secret_file: secret, algorithms: [HS256], leeway: 0s, roles: {x: viewer}}
  certificates: [{match: "CN=scraper", role: viewer}]
  roles: {sampler: [read, samples]}
limits: {enabled: true, rates: {predict: 5/second, batch_predict: 7/day}}
admin: {listen: "127.0.0.1:9091"}
audit: {file: audit.log, required: true, predictions: true, rotate: 1MiB}
`))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"10.0.0.0/8", "::1"}; !reflect.DeepEqual(c.Server.TrustedProxies, want) || c.Server.TLS.ClientCA != "c" {
		t.Errorf("%+v", c.Server)
	}
	j := c.Auth.JWT[0]
	if !reflect.DeepEqual(j.Claims, config.Claims{Subject: "sub", Roles: "realm_access.roles", Models: "models"}) || j.Leeway != 30*time.Second || j.Roles["boss"] != "admin" {
		t.Errorf("%+v", j)
	}
	if j := c.Auth.JWT[1]; j.Leeway != 0 || j.Claims.Roles != "roles" || j.SecretFile != "secret" {
		t.Errorf("%+v", j)
	}
	if len(c.Auth.Public) != 0 || !c.Auth.Configured() || !reflect.DeepEqual(c.Auth.Roles, map[string][]string{"sampler": {"read", "samples"}}) {
		t.Errorf("%+v", c.Auth)
	}
	want := config.Rates{Enabled: true, Predict: config.Rate{Count: 5, Per: time.Second}, BatchPredict: config.Rate{Count: 7, Per: 24 * time.Hour}, ModelManaged: config.Rate{Count: 50, Per: time.Hour}}
	if c.Rates != want {
		t.Errorf("%+v", c.Rates)
	}
	if (c.Audit != config.Audit{File: "audit.log", Required: true, Predictions: true, Rotate: 1 << 20}) || c.Admin.Listen != "127.0.0.1:9091" {
		t.Errorf("%+v, %+v", c.Audit, c.Admin)
	}
}

func TestAccessProblems(t *testing.T) {
	jwt := func(more string) string {
		return "auth: {jwt: [{issuer: i, audience: a, roles: {x: viewer}, " + more + "}]}"
	}
	for _, c := range []struct{ text, want string }{
		{"server: {samples: {size: 1, token: x}}", "server.samples: has no token any more: samples are shown to keys of a role"},
		{"server: {samples: {token_sha256: x, token: \"\"}}", "server.samples: has no token any more"},
		{"auth: {mode: never}", "auth.mode: is \"never\"; must be one of auto, on, off"},
		{"auth: {mode: on}", "set auth.keys"},
		{"auth: {public: [health]}", "a path such as /health"},
		{"auth: {certificates: [{match: CN=a, role: viewer}]}", "needs server.tls.client_ca"},
		{"auth: {certificates: [{role: boss}]}", "auth.certificates[0].role: is \"boss\"; must be one of viewer, operator, admin, controller"},
		{"server: {tls: {client_ca: a}}", "needs server.tls.cert"},
		{"server: {trusted_proxies: [everybody]}", "a network such as"},
		{"auth: {jwt: [{}]}", "needs an issuer and an audience"},
		{jwt("algorithms: [ES256]"), "either jwks or secret_file"},
		{jwt("jwks: f, secret_file: f, algorithms: [ES256]"), "either jwks or secret_file"},
		{jwt("jwks: f"), "algorithms: is missing"},
		{jwt("jwks: f, algorithms: [none]"), `has "none"`},
		{jwt("jwks: f, algorithms: [ES256, HS256]"), `has "HS256"; must be of RS256`},
		{jwt("secret_file: f, algorithms: [RS256]"), `has "RS256"; must be of HS256`},
		{jwt("jwks: \"http://id.example.com\", algorithms: [ES256]"), "must be an https URL or a file"},
		{jwt("jwks: \"file:///etc/passwd\", algorithms: [ES256]"), "must be an https URL or a file"},
		{jwt("jwks: f, algorithms: [ES256], leeway: 1h"), "must be 0 to 5m"},
		{"auth: {jwt: [{issuer: i, audience: a, jwks: f, algorithms: [ES256]}]}", "roles: is missing"},
		{"auth: {jwt: [{issuer: i, audience: a, jwks: f, algorithms: [ES256], roles: {x: owner}}]}", "auth.jwt[0].roles.x: is \"owner\""},
		{"auth: {jwt: [{issuer: i, audience: a}, {issuer: i, audience: a}]}", "as another one"},
		{"limits: {rates: {predict: 0/minute}}", "a rate such as 100/minute"},
		{"limits: {rates: {predict: 5/fortnight}}", "a rate such as 100/minute"},
		{"limits: {rates: {predict: 5}}", "a rate such as 100/minute"},
		{"admin: {listen: \"9091\"}", "an address and a port"},
		{"audit: {required: true}", "needs audit.file"},
		{"audit: {file: a, rotate: 1KiB}", "at least 64KiB"},
	} {
		if _, err := config.Decode([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}

// TestIssuersOfTheEnvironment checks that the environment replaces the file's issuers
// with what Show or JSON write of them.
func TestIssuersOfTheEnvironment(t *testing.T) {
	t.Setenv("PYNOMALY_AUTH_JWT", `[{"issuer": "i", "audience": "a", "jwks": "https://id.example.com/keys", "algorithms": ["RS256"], "claims": {"roles": "sub"}, "roles": {"system:serviceaccount:a:b": "viewer"}}]`)
	c, err := config.Decode([]byte("auth: {jwt: [{issuer: x, audience: y, secret_file: z, algorithms: [HS256], roles: {x: viewer}}]}"))
	if err == nil {
		err = c.Overlay(pflag.NewFlagSet("", pflag.ContinueOnError))
	}
	want := []config.JWT{{
		Issuer: "i", Audience: "a", JWKS: "https://id.example.com/keys", Algorithms: []string{"RS256"}, Leeway: 30 * time.Second,
		Claims: config.Claims{Subject: "sub", Roles: "sub"}, Roles: map[string]string{"system:serviceaccount:a:b": "viewer"},
	}}
	if err != nil || !reflect.DeepEqual(c.Auth.JWT, want) {
		t.Errorf("%+v, %v", c.Auth.JWT, err)
	}
}

func TestPrefixesAndRates(t *testing.T) {
	for text, want := range map[string]string{"10.1.2.3/8": "10.0.0.0/8", "10.1.2.3": "10.1.2.3/32", "::1": "::1/128", "::ffff:10.0.0.1": "10.0.0.1/32", "fe80::1%eth0": "", "10.0.0.0/33": "", "": ""} {
		p, err := config.ParsePrefix(text)
		if (err == nil) != (want != "") || err == nil && p.String() != want {
			t.Errorf("%q: %v, %v; want %q", text, p, err, want)
		}
	}
	for _, text := range []string{"1/second", "100/minute", "50/hour", "1000000000/day"} {
		if r, err := config.ParseRate(text); err != nil || r.String() != text {
			t.Errorf("%q: %v, %v", text, r, err)
		}
	}
}

// TestShow checks that Show reveals no secret.
func TestShow(t *testing.T) {
	c, err := config.Decode([]byte("backends: {process: {enabled: true, allow: [{path: x}], env: {PASSWORD: s3cret}}}\nlog: {level: warn}"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(c.Show())
	if err != nil || strings.Contains(string(text), "s3cret") || !strings.Contains(string(text), `"PASSWORD":"***"`) || !strings.Contains(string(text), `"log.level":"warn"`) {
		t.Errorf("%s, %v", text, err)
	}
}
