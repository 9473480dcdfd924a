package entrance

import (
	"testing"

	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/internal/config"
)

// TestModes checks which callers need credentials, by the configuration and by who
// reaches the host.
func TestModes(t *testing.T) {
	for _, c := range []struct {
		text      string
		loopback  bool
		want      access.Mode
		anonymous string
		refused   bool
	}{
		{"{}", true, access.Open, "", false},
		{"{}", false, access.RunKey, "", false},
		{"server: {environment: production}", true, access.Configured, "viewer", false},
		{"server: {environment: production}", false, 0, "", true},
		{"server: {environment: production, insecure: true}", false, access.Off, "", false},
		{"auth: {mode: off}", false, access.Off, "", false},
		{"auth: {keys: k}", true, access.Configured, "", false},
		{"auth: {keys: k}", false, access.Configured, "", false},
		{"auth: {mode: on, keys: k}", true, access.Configured, "", false},
		{"auth: {anonymous: viewer}\nserver: {environment: production}", false, access.Configured, "viewer", false},
	} {
		cfg, err := config.Decode([]byte(c.text))
		if err != nil {
			t.Fatal(err)
		}
		m, anonymous, err := mode(cfg, c.loopback)
		if (err != nil) != c.refused || m != c.want || anonymous != c.anonymous {
			t.Errorf("%s, loopback %v: %v, %q, %v", c.text, c.loopback, m, anonymous, err)
		}
	}
}
