package rest_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestSocketCredentials checks that a browser may send its token as a subprotocol,
// and that a connection with a revoked credential answers no further message.
func TestSocketCredentials(t *testing.T) {
	var revoked atomic.Bool
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t), REST: func(c *rest.Config) {
		c.Gate = gateOf(t, access.Configured, func(c *access.Config) { c.Tokens, c.Keys = tokensOf{spelledOut{t, &revoked}}, nil })
	}})
	url := "ws" + strings.TrimPrefix(h.URL, "http") + "/api/v1/predict/stream"
	for _, bad := range []http.Header{nil, {"Sec-Websocket-Protocol": {"bearer"}}, {"Sec-Websocket-Protocol": {"bearer, nobody"}}, {"Sec-Websocket-Protocol": {"chat"}}} {
		if _, resp, err := websocket.DefaultDialer.Dial(url, bad); err == nil || resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%v: %v, %v", bad, resp, err)
		}
	}
	c, resp, err := websocket.DefaultDialer.Dial(url, http.Header{"Sec-Websocket-Protocol": {"bearer, viewer:pima"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = resp.Body.Close()
	if got := c.Subprotocol(); got != "bearer" {
		t.Errorf("the subprotocol is %q", got)
	}
	ask := func() (string, error) {
		if err := c.WriteMessage(websocket.TextMessage, []byte(`{"model_id":"pima","data":`+goodRow+`}`)); err != nil {
			return "", err
		}
		_, text, err := c.ReadMessage()
		return string(text), err
	}
	if text, err := ask(); err != nil || !strings.Contains(text, `"prediction"`) {
		t.Errorf("%s, %v", text, err)
	}
	revoked.Store(true)
	if text, err := ask(); err != nil || !strings.Contains(text, "Unauthorized") {
		t.Errorf("%s, %v", text, err)
	}
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.ClosePolicyViolation) {
		t.Errorf("the connection goes on: %v", err)
	}
}

// TestTwoCredentials checks that a header that is sent twice counts as two
// credentials.
func TestTwoCredentials(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t), REST: func(c *rest.Config) { c.Gate = gateOf(t, access.Configured, nil) }})
	for i, c := range []struct {
		headers string
		want    int
	}{
		{"X-API-Key: viewer:*\r\n", 200}, {"X-API-Key: viewer:*\r\nX-API-Key: viewer:*\r\n", 200}, {"x-api-key: viewer:*\r\nX-API-KEY: admin:*\r\n", 401},
		{"X-API-Key: viewer:*\r\nAuthorization: Basic eDp5\r\n", 401}, {"X-API-Key: viewer:*\r\nAuthorization:\r\n", 200}, {"X-API-Key:\r\n", 401}, {"", 401},
		{"X-API-Key: viewer:*\r\nAuthorization: Bearer pyn_viewer\r\n", 401},
	} {
		conn := dial(t, h)
		write(t, conn, "GET /api/v1/models HTTP/1.1\r\nHost: localhost\r\n"+c.headers+"\r\n")
		if resp, p := answerOn(t, conn); resp.StatusCode != c.want {
			t.Errorf("%d: %d %+v", i, resp.StatusCode, p)
		}
	}
}

// TestKeysInNoAnswer checks that no answer and no log has a client's credential.
func TestKeysInNoAnswer(t *testing.T) {
	out := &lines{}
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t), Log: out, REST: func(c *rest.Config) { c.Gate = gateOf(t, access.Configured, nil) }})
	for _, key := range []string{"wrong:secret", "viewer:pima"} {
		for _, path := range []string{"/api/v1/models", "/metrics", "/api/v1/models/pima/load", "/nothing"} {
			resp, body := do(t, h, sent{method: "GET", path: path, header: map[string]string{"X-API-Key": key}})
			if strings.Contains(string(body)+fmt.Sprint(resp.Header), key) {
				t.Errorf("%s: %s", path, body)
			}
		}
	}
	if text := out.text(); strings.Contains(text, "wrong:secret") {
		t.Error(text)
	}
}

type tokensOf struct{ keys spelledOut }

// Verify implements access.Tokens.
func (s tokensOf) Verify(_ context.Context, token []byte) (*access.Principal, error) {
	return s.keys.Lookup(token, time.Time{})
}
