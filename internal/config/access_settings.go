package config

import (
	"encoding/json"
	"time"

	y "github.com/pynomaly/pynomaly-runtime/internal/strictyaml"
)

// accessSettings returns the settings of access, limits and the audit.
func accessSettings() []setting {
	return []setting{
		{key: "server.tls.client_ca", flag: "tls-client-ca", help: "file of the CAs that verify client certificates", value: text(func(c *Config) *string { return &c.Server.TLS.ClientCA })},
		{key: "server.tls.hsts", flag: "hsts", help: "how long browsers must use TLS only, after an answer over TLS (Strict-Transport-Security); 0s: they are not told", value: duration(func(c *Config) *time.Duration { return &c.Server.TLS.HSTS })},
		{key: "server.trusted_proxies", flag: "trusted-proxies", help: "addresses and networks whose X-Forwarded-For is trusted, separated by commas", value: scalar("strings", func(c *Config) *[]string { return &c.Server.TrustedProxies }, splitList, joinList)},
		{key: "auth.mode", flag: "auth", help: "whether callers need credentials: auto, on or off", value: text(func(c *Config) *string { return &c.Auth.Mode })},
		{key: "auth.keys", flag: "auth-keys", help: "file of API keys, which key create makes", value: text(func(c *Config) *string { return &c.Auth.Keys })},
		{key: "auth.jwt", value: issuers()},
		{key: "auth.anonymous", flag: "auth-anonymous", help: "role of callers without credentials, such as viewer; empty: they are refused", value: text(func(c *Config) *string { return &c.Auth.Anonymous })},
		{key: "auth.public", flag: "auth-public", help: "paths that need no credentials, separated by commas", value: scalar("strings", func(c *Config) *[]string { return &c.Auth.Public }, splitList, joinList)},
		{key: "limits.enabled", flag: "rate-limits", help: "limit the requests of each caller as limits.rates says", value: truth(func(c *Config) *bool { return &c.Rates.Enabled })},
		{key: "limits.rates.predict", value: rate(func(c *Config) *Rate { return &c.Rates.Predict })},
		{key: "limits.rates.batch_predict", value: rate(func(c *Config) *Rate { return &c.Rates.BatchPredict })},
		{key: "limits.rates.model_management", value: rate(func(c *Config) *Rate { return &c.Rates.ModelManaged })},
		{key: "admin.listen", flag: "admin-listen", help: "address and port for operators, such as 127.0.0.1:9091; empty: none", value: text(func(c *Config) *string { return &c.Admin.Listen })},
		{key: "audit.file", flag: "audit", help: "output of the audit: a file, - (standard output) or syslog; empty: no audit", value: text(func(c *Config) *string { return &c.Audit.File })},
		{key: "audit.required", flag: "audit-required", help: "refuse an action if its audit record cannot be written", value: truth(func(c *Config) *bool { return &c.Audit.Required })},
		{key: "audit.predictions", flag: "audit-predictions", help: "write predictions to the audit as well", value: truth(func(c *Config) *bool { return &c.Audit.Predictions })},
		{key: "audit.rotate", flag: "audit-rotate", help: "size at which the audit continues in a new file; 0: never", value: size(func(c *Config) *int64 { return &c.Audit.Rotate })},
	}
}

// issuers reads auth.jwt as one line, as JSON or YAML.
func issuers() value {
	return value{
		set: func(c *Config, text string) error {
			read := Auth{}
			d := y.Decode([]byte("jwt: "+text), y.Fields{"jwt": read.fields()["jwt"]})
			if err := d.Err(); err != nil {
				return err //nolint:wrapcheck // it names the key
			}
			c.Auth.JWT = read.JWT
			return nil
		},
		get: func(c *Config) string {
			text, err := json.Marshal(c.Auth.JWT)
			if err != nil {
				return ""
			}
			return string(text)
		},
	}
}
