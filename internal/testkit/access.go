package testkit

import (
	"crypto/rand"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/api/access/gate"
	"github.com/pynomaly/pynomaly-runtime/api/access/keys"
	"github.com/pynomaly/pynomaly-runtime/api/access/limits"
)

// Gate returns a gate that asks for API keys, and one key of each of the roles.
func Gate(t testing.TB, roles ...string) (g *gate.Gate, made []string) {
	t.Helper()
	known, err := access.NewRoles(nil)
	if err != nil {
		t.Fatal(err)
	}
	store := keys.Store{File: filepath.Join(t.TempDir(), "keys.yaml"), Roles: known, Now: time.Now, Random: rand.Reader}
	for _, role := range roles {
		key, _, err := store.Create(t.Context(), keys.Wanted{Role: role})
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, key)
	}
	log := slog.New(slog.DiscardHandler)
	set, err := keys.Open(store.File, known, log, nil)
	if err == nil {
		g, err = gate.New(gate.Config{
			Rules: &gate.Rules{
				Authenticator: access.NewAuthenticator(access.Config{Mode: access.Configured, Keys: set, Now: time.Now}),
				Public:        []string{"/health", "/ready", "/metrics"},
			},
			Limits: limits.New(limits.Rates{}, time.Now), Logins: limits.NewLogins(time.Now), Log: log, Reg: prometheus.NewRegistry(),
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return g, made
}
