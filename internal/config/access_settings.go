package config

// accessSettings are those of access, limits and the audit.
func accessSettings() []setting {
	return []setting{
		{key: "server.tls.client_ca", flag: "tls-client-ca", help: "file of the CAs that client certificates are checked against", value: text(func(c *Config) *string { return &c.Server.TLS.ClientCA })},
		{key: "server.trusted_proxies", flag: "trusted-proxies", help: "addresses and networks whose X-Forwarded-For counts, with commas between", value: scalar("strings", func(c *Config) *[]string { return &c.Server.TrustedProxies }, splitList, joinList)},
		{key: "auth.mode", flag: "auth", help: "who is asked for credentials: auto, on or off", value: text(func(c *Config) *string { return &c.Auth.Mode })},
		{key: "auth.keys", flag: "auth-keys", help: "file of API keys, as key create makes it", value: text(func(c *Config) *string { return &c.Auth.Keys })},
		{key: "auth.anonymous", flag: "auth-anonymous", help: "role of who shows no credential, such as viewer; empty: is refused", value: text(func(c *Config) *string { return &c.Auth.Anonymous })},
		{key: "auth.public", flag: "auth-public", help: "paths that need no credentials, with commas between", value: scalar("strings", func(c *Config) *[]string { return &c.Auth.Public }, splitList, joinList)},
		{key: "limits.enabled", flag: "rate-limits", help: "bound how often one caller may ask, as limits.rates says", value: truth(func(c *Config) *bool { return &c.Rates.Enabled })},
		{key: "limits.rates.predict", value: rate(func(c *Config) *Rate { return &c.Rates.Predict })},
		{key: "limits.rates.batch_predict", value: rate(func(c *Config) *Rate { return &c.Rates.BatchPredict })},
		{key: "limits.rates.model_management", value: rate(func(c *Config) *Rate { return &c.Rates.ModelManaged })},
		{key: "admin.listen", flag: "admin-listen", help: "address and port for operators, such as 127.0.0.1:9091; empty: none", value: text(func(c *Config) *string { return &c.Admin.Listen })},
		{key: "audit.file", flag: "audit", help: "where the audit is written: a file, - (standard output) or syslog; empty: nowhere", value: text(func(c *Config) *string { return &c.Audit.File })},
		{key: "audit.required", flag: "audit-required", help: "refuse what the audit cannot be written of", value: truth(func(c *Config) *bool { return &c.Audit.Required })},
		{key: "audit.predictions", flag: "audit-predictions", help: "write predictions to the audit, too", value: truth(func(c *Config) *bool { return &c.Audit.Predictions })},
		{key: "audit.rotate", flag: "audit-rotate", help: "bytes after which the audit goes on in another file; 0: never", value: size(func(c *Config) *int64 { return &c.Audit.Rotate })},
	}
}
