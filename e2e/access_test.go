//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/hostkeys"
	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestAccess checks under load who may use hosts, and that changes of that reach all
// pods and lose no request.
func TestAccess(t *testing.T) {
	w := open(t)
	defer w.table(t)
	w.scenario(t, "keys: none, wrong, revoked", 3, func(t *testing.T, l *load) { w.revoked(t) })
	w.scenario(t, "the controller's key rotated in a canary", 2, func(t *testing.T, l *load) { w.rotated(t, l) })
	w.scenario(t, "tokens of the cluster's own issuer", 2, func(t *testing.T, l *load) { w.tokens(t) })
}

// through sends a request with headers to the gateway, and returns the status.
func through(t *testing.T, method, path, body string, headers ...string) int {
	t.Helper()
	req, err := http.NewRequest(method, gateway()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "development.test"
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

const aRow = `{"data": [6,148,72,35,0,33.6,0.627,50]}`

// each returns what every pod of hosts answers to a request for the models with an API
// key, by way of the API server.
func (w *world) each(t *testing.T, key string) map[string]int {
	t.Helper()
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil).ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	c, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for _, p := range w.pods(t, w.state(t).Status.Stable) {
		req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("%s/api/v1/namespaces/%s/pods/%s:%d/proxy/api/v1/models", cfg.Host, namespace, p.Name, render.Port), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-API-Key", key)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		out[p.Name] = resp.StatusCode
	}
	return out
}

// all waits until every pod accepts or refuses a key, and returns how long it took.
func (w *world) all(t *testing.T, key string, accept bool) time.Duration {
	t.Helper()
	start := time.Now()
	w.eventually(t, time.Minute, fmt.Sprintf("all pods accept the key: %v", accept), func() bool {
		n := 0
		for _, got := range w.each(t, key) {
			if (got == http.StatusOK) != accept || !accept && !refused(got) {
				return false
			}
			n++
		}
		return n > 0
	})
	return time.Since(start)
}

// refused reports whether a status means that a credential was refused: many wrong ones
// of one address get 429.
func refused(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusTooManyRequests
}

// revoked checks what is answered without a key and with a wrong one, and how long a
// revocation takes to reach all pods.
func (w *world) revoked(t *testing.T) {
	const path = "/api/v1/predict"
	for what, c := range map[string]struct {
		headers []string
		want    int
	}{
		"no key":           {nil, 401},
		"a key of no host": {[]string{"X-API-Key", "pyn_aaaaaaaa_" + strings.Repeat("b", 52)}, 401},
		"no key at all":    {[]string{"Authorization", "Bearer x"}, 401},
		"a viewer":         {[]string{"X-API-Key", w.key}, 200},
		"a viewer, bearer": {[]string{"Authorization", "Bearer " + w.key}, 200},
	} {
		if got := through(t, http.MethodPost, path, aRow, c.headers...); got != c.want {
			t.Errorf("%s: %d, want %d", what, got, c.want)
		}
	}
	if got := through(t, http.MethodGet, "/api/v1/models/"+model+"/samples", "", "X-API-Key", w.key); got != 403 {
		t.Errorf("samples for a viewer: %d", got)
	}
	for _, public := range []string{"/health", "/ready", "/metrics"} {
		if got := through(t, http.MethodGet, public, ""); got != 200 {
			t.Errorf("%s without a key: %d", public, got)
		}
	}
	key := strings.TrimSpace(w.run(t, 0, "key", "create", "--env", "development", "--role", "viewer", "--name", "short-lived"))
	made := w.all(t, key, true)
	start := time.Now()
	out := w.run(t, 0, "key", "revoke", key[4:12], "--env", "development")
	w.all(t, key, false)
	took := time.Since(start)
	if took > 10*time.Second || !strings.Contains(out, "within 10 s (3 pods)") {
		t.Errorf("it took %v until all pods refused a revoked key: %s", took, out)
	}
	w.notes = append(w.notes, fmt.Sprintf("A new key was accepted by all pods %v after the command, a revoked one refused %v after it began.", made.Round(100*time.Millisecond), took.Round(100*time.Millisecond)))
	if list := w.run(t, 0, "key", "list", "--env", "development"); !strings.Contains(list, "controller") || strings.Contains(list, key) {
		t.Errorf("%s", list)
	}
}

// rotated replaces the controller's key while it compares two revisions, without any
// time in which both keys are good.
func (w *world) rotated(t *testing.T, l *load) {
	w.follow(t, w.deploy(t, "1.2.0", "--strategy", "direct", "--samples", "100"), v1alpha1.Deployed, long)
	id := w.deploy(t, "1.1.0", "--strategy", "canary", "--steps", "20:8s,50:8s", "--samples", "100")
	w.eventually(t, long, "1.1.0 answers", func() bool { return !l.last("1.1.0").IsZero() })
	own := hostkeys.Own{Reader: w, Namespace: system, Now: time.Now}
	before, err := own.Keys(t.Context(), namespace)
	if err != nil {
		t.Fatal(err)
	}
	w.run(t, 0, "key", "rotate", "controller", "--env", "development", "--overlap", "0")
	w.all(t, before[0], false)
	w.follow(t, id, v1alpha1.Deployed, long)
	for _, v := range w.state(t).Status.Verdicts {
		t.Logf("%s: %s, n %d", v.Gate, v.Result, v.N)
		if v.Result == "Error" {
			t.Errorf("%s: %s", v.Gate, v.Message)
		}
	}
	if p := w.state(t).Status.Promotion; !strings.Contains(p, "error-rate") {
		t.Errorf("it was promoted as %q", p)
	}
}

// tokens checks that hosts accept tokens of service accounts, whose keys they read from
// the API server.
func (w *world) tokens(t *testing.T) {
	ctx := context.Background()
	var service corev1.Service
	w.get(t, client.ObjectKey{Namespace: "default", Name: "kubernetes"}, &service)
	var ca corev1.ConfigMap
	w.get(t, client.ObjectKey{Namespace: namespace, Name: "kube-root-ca.crt"}, &ca)
	var keys corev1.Secret
	w.get(t, client.ObjectKey{Namespace: namespace, Name: v1alpha1.DefaultKeysSecret}, &keys)
	keys.Data["cluster-ca.crt"] = []byte(ca.Data["ca.crt"])
	if err := w.Update(ctx, &keys); err != nil {
		t.Fatal(err)
	}
	discovery := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "e2e-issuer"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:service-account-issuer-discovery"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:unauthenticated"}},
	}
	scorer := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "scorer"}}
	for _, o := range []client.Object{discovery, scorer} {
		if err := client.IgnoreAlreadyExists(w.Create(ctx, o)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = w.Delete(ctx, discovery); _ = w.Delete(ctx, scorer) })
	issuer := w.token(t, scorer, "nobody").issuer
	address := service.Spec.ClusterIP
	w.environment(t, func(e *v1alpha1.EnvironmentSpec) {
		e.Access.JWT = []v1alpha1.JWT{{
			Issuer: issuer, Audience: "pynomaly", JWKS: "https://" + address + "/openid/v1/jwks", CA: "cluster-ca.crt", Algorithms: []string{"RS256"},
			Claims: v1alpha1.Claims{Roles: "sub"}, Roles: map[string]v1alpha1.RoleName{"system:serviceaccount:" + namespace + ":scorer": "viewer"},
		}}
		e.Egress = []v1alpha1.Egress{{CIDR: address + "/32", Ports: []int32{443}}}
	})
	good := w.token(t, scorer, "pynomaly")
	w.eventually(t, 2*time.Minute, "all pods are replaced, and accept the token", func() bool {
		for range 8 { // of two pods
			if through(t, http.MethodPost, "/api/v1/predict", aRow, "Authorization", "Bearer "+good.text) != 200 {
				return false
			}
		}
		return len(w.pods(t, w.state(t).Status.Stable)) == 2
	})
	other := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "default"}}
	for what, c := range map[string]struct {
		token string
		want  int
	}{
		"another audience": {w.token(t, scorer, "other").text, 401},
		"another account":  {w.token(t, other, "pynomaly").text, 403},
		"a changed token":  {good.text[:len(good.text)-4] + "AAAA", 401},
	} {
		if got := through(t, http.MethodPost, "/api/v1/predict", aRow, "Authorization", "Bearer "+c.token); got != c.want {
			t.Errorf("%s: %d, want %d", what, got, c.want)
		}
	}
	w.environment(t, func(e *v1alpha1.EnvironmentSpec) { e.Access.JWT, e.Egress = nil, nil })
	w.eventually(t, 2*time.Minute, "no pod accepts the token", func() bool {
		for range 8 {
			if !refused(through(t, http.MethodPost, "/api/v1/predict", aRow, "Authorization", "Bearer "+good.text)) {
				return false
			}
		}
		return len(w.pods(t, w.state(t).Status.Stable)) == 2
	})
}

// environment changes the Environment development.
func (w *world) environment(t *testing.T, change func(*v1alpha1.EnvironmentSpec)) {
	t.Helper()
	w.eventually(t, 10*time.Second, "the change is written", func() bool {
		var e v1alpha1.Environment
		w.get(t, client.ObjectKey{Name: "development"}, &e)
		change(&e.Spec)
		return w.Update(context.Background(), &e) == nil
	})
}

// issued is a token and its issuer.
type issued struct{ text, issuer string }

// token returns a token of a service account for an audience.
func (w *world) token(t *testing.T, account *corev1.ServiceAccount, audience string) issued {
	t.Helper()
	r := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}}}
	if err := w.SubResource("token").Create(context.Background(), account, r); err != nil {
		t.Fatal(err)
	}
	part := strings.Split(r.Status.Token, ".")[1]
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	var claims struct{ Iss string }
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&claims); err != nil || claims.Iss == "" {
		t.Fatalf("%s: %v", text, err)
	}
	return issued{r.Status.Token, claims.Iss}
}
