package gate_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/api/access/gate"
	"github.com/pynomaly/pynomaly-runtime/api/access/limits"
	"github.com/pynomaly/pynomaly-runtime/api/audit"
)

type nobodysKeys struct{}

func (nobodysKeys) Lookup([]byte, time.Time) (*access.Principal, error) {
	return nil, &access.Error{Is: access.ErrUnauthenticated, Reason: "unknown_key", Public: "it is unknown"}
}

// TestRefusals checks that refusals are counted and audited, and that an address
// with many wrong credentials fills neither the log nor the audit.
func TestRefusals(t *testing.T) {
	var out, log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	a, err := audit.Open(audit.Config{Output: &out, Now: time.Now, Log: logger})
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return time.Unix(1_900_000_000, 0) }
	reg := prometheus.NewRegistry()
	rules := &gate.Rules{Authenticator: access.NewAuthenticator(access.Config{Mode: access.Configured, Keys: nobodysKeys{}, Now: now}), Public: []string{"/health"}}
	c := gate.Config{Rules: rules, Limits: limits.New(limits.Rates{limits.Predict: {Count: 1, Per: time.Minute}}, now), Logins: limits.NewLogins(now), Audit: a, Log: logger, Reg: reg}
	g, err := gate.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gate.New(c); err == nil {
		t.Error("two gates have the same metrics")
	}
	from := gate.Caller{Address: netip.MustParseAddr("192.0.2.1"), RequestID: "r-1"}
	refuse := func(key, path string) error {
		var shown access.Credentials
		if key != "" {
			shown.Key([]byte(key))
		}
		_, err := g.Enter(t.Context(), &shown, path)
		if err != nil {
			err = g.Refuse(err, shown.Any(), access.Predict, from)
		}
		return err
	}
	for path, want := range map[string]error{"/health": nil, "/api": access.ErrUnauthenticated} {
		if err := refuse("", path); !errors.Is(err, want) {
			t.Errorf("nothing at %s: %v", path, err)
		}
		if err := refuse("pyn_wrong", path); !errors.Is(err, access.ErrUnauthenticated) {
			t.Errorf("a wrong key at %s: %v", path, err)
		}
	}
	for range 50 {
		err = refuse("pyn_wrong", "/api")
	}
	if !errors.Is(err, access.ErrLimited) {
		t.Errorf("after many: %v", err)
	}
	if err := refuse("", "/api"); !errors.Is(err, access.ErrUnauthenticated) {
		t.Errorf("nothing, after many: %v", err)
	}
	if lines, warned := strings.Count(out.String(), "refused: unknown_key"), strings.Count(log.String(), "credentials refused"); lines != 20 || warned != 20 {
		t.Errorf("%d lines in the audit, %d in the log", lines, warned)
	}
	if strings.Contains(out.String()+log.String(), "pyn_") {
		t.Error("a key was written")
	}
	ci := &access.Principal{Kind: access.Key, ID: "abcdefgh", Name: "ci"}
	if err := g.Deny(access.Decide(ci, access.Admin, ""), ci, access.Admin, "m", from); !errors.Is(err, access.ErrForbidden) || !strings.Contains(out.String(), `"principal":"ci","credential":{"kind":"key","id":"abcdefgh"},"address":"192.0.2.1","action":"admin","model":"m","outcome":"denied"`) {
		t.Errorf("%v, %s", err, out.String())
	}
	if err := g.Deny(access.ErrForbidden, &access.Principal{Kind: access.Anonymous}, access.Admin, "", from); !errors.Is(err, access.ErrLimited) {
		t.Errorf("anybody who is denied often: %v", err)
	}
	if err := errors.Join(g.Count(limits.Predict, ci, from.Address), g.Count(limits.BatchPredict, ci, from.Address)); err != nil || !g.Counts(limits.Predict) || g.Counts(limits.BatchPredict) {
		t.Error(err)
	}
	if err := g.Count(limits.Predict, ci, from.Address); !errors.Is(err, access.ErrLimited) {
		t.Error(err)
	}
	families, err := reg.Gather()
	if err != nil || len(families) != 3 {
		t.Errorf("%v, %v", families, err)
	}
	g.Set(&gate.Rules{Authenticator: access.NewAuthenticator(access.Config{Mode: access.Off, Now: now}), Proxies: access.Proxies{netip.MustParsePrefix("10.0.0.0/8")}})
	if err := refuse("pyn_wrong", "/api"); err != nil || g.Public("/health") {
		t.Errorf("switched off: %v", err)
	}
	if got := g.Client(netip.MustParseAddr("10.0.0.1"), "192.0.2.9"); got.String() != "192.0.2.9" || !g.Proxied(netip.MustParseAddr("10.0.0.1")) {
		t.Errorf("%v", got)
	}
}
