package config

import "os"

// TrustProgram allows the programs of a model's directory to run, because somebody has
// named it on the command line, unless the configuration says which ones may run.
func (c *Config) TrustProgram(dir string) {
	p := &c.Backends.Process
	if p.Enabled {
		return
	}
	p.Enabled, p.Allow = true, []Allowed{{Path: dir}}
	if p.User == "" && os.Geteuid() == 0 {
		p.User = "root"
	}
}
