package render_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
	"github.com/pynomaly/pynomaly-runtime/internal/config"
)

// issuers are accepted tokens of every kind.
func issuers() []v1alpha1.JWT {
	return []v1alpha1.JWT{
		{Issuer: "https://id.example.com", Audience: "pynomaly", JWKS: "https://id.example.com/keys?a=1&b=2", CA: "id.crt", Algorithms: []string{"ES256", "RS256"}, Leeway: &metav1.Duration{Duration: time.Minute},
			Claims: v1alpha1.Claims{Subject: "email", Roles: "realm_access.roles", Models: "models"}, Roles: map[string]v1alpha1.RoleName{"b": "operator", "a": "viewer"}},
		{Issuer: "cluster", Audience: "pynomaly", JWKS: "cluster.json", Algorithms: []string{"RS256"}, Claims: v1alpha1.Claims{Roles: "sub"}, Roles: map[string]v1alpha1.RoleName{"system:serviceaccount:apps:scorer": "viewer"}},
		{Issuer: "own", Audience: "pynomaly", SecretFile: "secret", Algorithms: []string{"HS256"}, Claims: v1alpha1.Claims{Roles: "groups"}, Roles: map[string]v1alpha1.RoleName{"x": "admin"}},
	}
}

// TestIssuers checks that a host reads the tokens that an Environment accepts as the
// Environment means them.
func TestIssuers(t *testing.T) {
	md := &v1alpha1.ModelDeployment{}
	md.Name, md.Namespace = "cardio", "models"
	revision := v1alpha1.RevisionTemplate{Model: v1alpha1.ModelReference{ID: "cardio", Version: "1.0.0"}, Image: "x:1"}
	access := (&v1alpha1.Access{KeysSecret: "keys", JWT: issuers()}).WithDefaults("production")
	p := render.Deployment(md, "0123abcd", revision, 1, access).Spec.Template.Spec
	i := slices.IndexFunc(p.Containers[0].Env, func(e corev1.EnvVar) bool { return e.Name == "PYNOMALY_AUTH_JWT" })
	if i < 0 {
		t.Fatalf("%+v", p.Containers[0].Env)
	}
	c, err := config.Decode([]byte("auth: {jwt: " + p.Containers[0].Env[i].Value + "}"))
	if err != nil {
		t.Fatal(err)
	}
	const dir = "/etc/pynomaly-runtime/access/"
	want := []config.JWT{
		{Issuer: "https://id.example.com", Audience: "pynomaly", JWKS: "https://id.example.com/keys?a=1&b=2", CA: dir + "id.crt", Algorithms: []string{"ES256", "RS256"}, Leeway: time.Minute,
			Claims: config.Claims{Subject: "email", Roles: "realm_access.roles", Models: "models"}, Roles: map[string]string{"b": "operator", "a": "viewer"}},
		{Issuer: "cluster", Audience: "pynomaly", JWKS: dir + "cluster.json", Algorithms: []string{"RS256"}, Leeway: 30 * time.Second,
			Claims: config.Claims{Subject: "sub", Roles: "sub"}, Roles: map[string]string{"system:serviceaccount:apps:scorer": "viewer"}},
		{Issuer: "own", Audience: "pynomaly", SecretFile: dir + "secret", Algorithms: []string{"HS256"}, Leeway: 30 * time.Second,
			Claims: config.Claims{Subject: "sub", Roles: "groups"}, Roles: map[string]string{"x": "admin"}},
	}
	got, _ := json.MarshalIndent(c.Auth.JWT, "", " ")
	wanted, _ := json.MarshalIndent(want, "", " ")
	if string(got) != string(wanted) {
		t.Errorf("%s\nwant\n%s", got, wanted)
	}
}

// TestMounted checks that pods of hosts mount the whole Secret of keys, which a kubelet
// keeps up to date, and that only hosts of development answer callers without
// credentials.
func TestMounted(t *testing.T) {
	for _, environment := range []string{"development", "staging", "production", ""} {
		p := render.GuidePlain("x:1")
		p.Environment = environment
		text, err := p.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if open := strings.Contains(string(text), "PYNOMALY_AUTH_ANONYMOUS: viewer"); open != (environment == "development") {
			t.Errorf("%s: callers without credentials: %v", environment, open)
		}
		for _, want := range []string{"PYNOMALY_AUTH_KEYS: /etc/pynomaly-runtime/access/keys.yaml", "mountPath: /etc/pynomaly-runtime/access\n", "secretName: pynomaly-keys"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s: there is no %q", environment, want)
			}
		}
		if strings.Contains(string(text), "subPath") || strings.Contains(string(text), "optional: true\n        name: access") {
			t.Errorf("%s: %s", environment, text)
		}
	}
}

// TestValidAccess checks that plain manifests of a host that would not start are refused
// with what the host would say.
func TestValidAccess(t *testing.T) {
	for want, change := range map[string]func(*v1alpha1.Access){
		"":                               func(a *v1alpha1.Access) { a.JWT = issuers() },
		"must be an https URL or a file": func(a *v1alpha1.Access) { a.JWT = issuers()[:1]; a.JWT[0].JWKS = "http://id.example.com" },
		"needs either jwks or secret_file": func(a *v1alpha1.Access) {
			a.JWT = issuers()[:1]
			a.JWT[0].SecretFile = "x"
		},
		`is "boss"; must be one of`: func(a *v1alpha1.Access) { a.JWT = issuers()[:1]; a.JWT[0].Roles["a"] = "boss" },
		"--keys-secret is":          func(a *v1alpha1.Access) { a.KeysSecret = "Keys" },
	} {
		p := render.GuidePlain("x:1")
		change(&p.Access)
		if err := p.Valid(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestDecidesAccess checks which environment variables of a host a deployment cannot
// set.
func TestDecidesAccess(t *testing.T) {
	for name, want := range map[string]bool{"PYNOMALY_AUTH_KEYS": true, "PYNOMALY_AUTH_MODE": true, "PYNOMALY_SERVER_INSECURE": true, "WORKERS": false, "PYNOMALY_SERVER_WORKERS": false} {
		if render.DecidesAccess(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}
