package keycommands

import (
	"testing"
	"time"
)

func TestLifetimes(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "0": 0, "0s": 0, "0d": 0, "90d": 90 * 24 * time.Hour, "12h": 12 * time.Hour, "1h30m": 90 * time.Minute, "36500d": maxLifetime} {
		if got, err := parseLifetime(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"-1d", "1.5d", "d", "x", "36501d", "99999999999999d", "1w", "-1s"} {
		if got, err := parseLifetime(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}
