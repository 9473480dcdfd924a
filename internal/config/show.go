package config

// hidden replaces secret values.
const hidden = "***"

// Show returns the configuration by its keys, without secrets: it hides the headers
// of traces and the values of programs' environment variables.
func (c *Config) Show() map[string]any {
	out := map[string]any{}
	for _, s := range settings() {
		out[s.key] = s.get(c)
	}
	if c.Traces.Headers != "" {
		out["traces.headers"] = hidden
	}
	env := map[string]string{}
	for name := range c.Backends.Process.Env {
		env[name] = hidden
	}
	out["backends.process"] = map[string]any{"enabled": c.Backends.Process.Enabled, "user": c.Backends.Process.User, "cgroup": c.Backends.Process.Cgroup, "allow": c.Backends.Process.Allow, "env": env}
	out["models.preload"], out["models.pinned"], out["models.aliases"] = c.Models.Preload, c.Models.Pinned, c.Models.Aliases
	out["auth.jwt"], out["auth.certificates"], out["auth.roles"] = c.Auth.JWT, c.Auth.Certificates, c.Auth.Roles
	return out
}
