package render

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// Rule says which values a setting of a model server may have. Plain.Valid checks
// it, and the chart's values.schema.json has it among its definitions, so that both
// refuse the same values. Where a host has the setting, the rule is the host's.
type Rule struct {
	Name    string // in the definitions of the schema
	Flag    string // of deploy render, without dashes
	Words   string // completes "must be"
	Pattern string // what a text must match; empty: a number or one of Enum
	Not     string // what a text must not match
	Enum    []string
	Longest int // in bytes; 0: the pattern decides
	Least   int64
	Most    int64
	real    bool // the number need not be whole
	// values returns the values that p has: texts, int64 or float64.
	values func(p *Plain) []any
}

// Patterns of Kubernetes' names and quantities.
const (
	label     = `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?` // RFC 1123
	hostName  = label + `([.]` + label + `)*`
	part      = `[a-z0-9]([a-z0-9-]*[a-z0-9])?`
	subdomain = part + `([.]` + part + `)*` // Kubernetes does not bound its parts
	unit      = `([kMGTPE]|[KMGTPE]i)?`
	number    = `[0-9]+([.][0-9]+)?`
	// A repository has a host if what is before the first slash has a dot or a port.
	imageHost = `([a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?([.][a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*(:[0-9]{1,5})?|\[[0-9a-fA-F:]+\](:[0-9]{1,5})?)/`
	imagePart = `[a-z0-9]+(([.]|__?|-+)[a-z0-9]+)*`
	image     = `^(` + imageHost + `)?` + imagePart + `(/` + imagePart + `)*(:[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$`
	version   = `(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*)?`
)

const (
	labelWords     = "1 to 63 lower-case letters, digits and -, with a letter or digit at both ends (RFC 1123)"
	subdomainWords = "lower-case letters, digits, - and ., with a letter or digit at both ends of each part (RFC 1123)"
	maxSubdomain   = 253
	maxReplicas    = 1000
)

// Rules returns the rules of a model server's settings.
func Rules() []Rule {
	levels := make([]string, 0, 4)
	for _, l := range config.LogLevels() {
		levels = append(levels, anyCase(l))
	}
	return slices.Concat(nameRules(), podRules(), chartRules(), []Rule{
		{Name: "image", Flag: "image", Words: "<repository>[:<tag>][@sha256:<64 hex digits>], with a repository in lower case", Pattern: image, Longest: 512, values: texts(func(p *Plain) []string { return []string{p.Image} })},
		{Name: "environment", Flag: "env", Enum: config.Environments(), values: texts(func(p *Plain) []string { return []string{p.Environment} })},
		{
			Name: "only", Flag: "only", Words: "<model>@<version>[=sha256:<64 hex digits>], or empty", Pattern: `^([a-zA-Z0-9][a-zA-Z0-9_-]{0,` + strconv.Itoa(manifest.MaxIDLength-1) + `}@` + version + `(=sha256:[0-9a-f]{64})?)?$`,
			values: texts(func(p *Plain) []string { return []string{p.Only} }),
		},
		{Name: "logLevel", Flag: "log-level", Words: "one of " + strings.Join(config.LogLevels(), ", "), Pattern: `^(` + strings.Join(levels, "|") + `)$`, values: texts(func(p *Plain) []string { return []string{p.LogLevel} })},
		{Name: "replicas", Flag: "replicas", Least: 0, Most: maxReplicas, values: func(p *Plain) []any { return []any{int64(p.Replicas)} }},
		{Name: "maxReplicas", Flag: "max-replicas", Least: 1, Most: maxReplicas, values: func(p *Plain) []any { return autoscaled(p, p.MaxReplicas) }},
		{Name: "cpuPercent", Flag: "cpu-percent", Least: 1, Most: 100, values: func(p *Plain) []any { return autoscaled(p, p.CPUPercent) }},
		{Name: "workers", Flag: "workers", Least: 0, Most: config.MaxWorkers, values: func(p *Plain) []any { return []any{int64(p.Workers)} }},
		{Name: "modelCacheSize", Flag: "model-cache-size", Least: 1, Most: config.MaxCacheSize, values: func(p *Plain) []any { return []any{int64(p.CacheSize)} }},
	})
}

// nameRules returns the rules of names.
func nameRules() []Rule {
	return []Rule{
		{
			// The longest suffix of an object's name has 8 characters. A Service's name
			// begins with a letter.
			Name: "name", Flag: "name", Words: "1 to 54 lower-case letters, digits and -, beginning with a letter and ending with a letter or digit", Pattern: `^[a-z]([a-z0-9-]{0,52}[a-z0-9])?$`,
			values: texts(func(p *Plain) []string { return []string{p.Name} }),
		},
		{Name: "namespace", Flag: "namespace", Words: labelWords, Pattern: `^` + label + `$`, values: texts(func(p *Plain) []string { return []string{p.Namespace} })},
		{Name: "admitted", Flag: "admit", Words: labelWords, Pattern: `^` + label + `$`, values: texts(func(p *Plain) []string { return p.Admit })},
		{
			Name: "host", Flag: "host-name", Words: "a DNS name in lower case, without a scheme, port or path, or empty; its first part may be *", Pattern: `^((\*[.])?` + hostName + `)?$`, Not: `^[0-9.]+$`, Longest: maxSubdomain,
			values: texts(func(p *Plain) []string { return []string{p.Host} }),
		},
		{Name: "tlsSecret", Flag: "tls-secret", Words: subdomainWords + ", or empty", Pattern: `^(` + subdomain + `)?$`, Longest: maxSubdomain, values: texts(func(p *Plain) []string { return []string{p.TLSSecret} })},
		{Name: "ingressClass", Flag: "ingress-class", Words: subdomainWords + ", or empty", Pattern: `^(` + subdomain + `)?$`, Longest: maxSubdomain, values: texts(func(p *Plain) []string { return []string{p.Class} })},
		{Name: "gatewayName", Flag: "gateway", Words: subdomainWords + ", or empty", Pattern: `^(` + subdomain + `)?$`, Longest: maxSubdomain, values: texts(func(p *Plain) []string {
			_, name := SplitName(p.Gateway)
			return []string{name}
		})},
		{Name: "gatewayNamespace", Flag: "gateway", Words: labelWords + ", or empty", Pattern: `^(` + label + `)?$`, values: texts(func(p *Plain) []string {
			namespace, _ := SplitName(p.Gateway)
			return []string{namespace}
		})},
		{Name: "keysSecret", Flag: "keys-secret", Words: subdomainWords, Pattern: `^` + subdomain + `$`, Longest: maxSubdomain, values: texts(func(p *Plain) []string { return []string{p.access().KeysSecret} })},
	}
}

// texts returns the values of a rule for texts.
func texts(of func(p *Plain) []string) func(p *Plain) []any {
	return func(p *Plain) []any {
		var out []any
		for _, s := range of(p) {
			out = append(out, s)
		}
		return out
	}
}

// autoscaled returns a setting of the autoscaler, if there is one.
func autoscaled(p *Plain, v int32) []any {
	if p.MaxReplicas == 0 {
		return nil
	}
	return []any{int64(v)}
}

// anyCase returns a pattern for a word in upper or lower case.
func anyCase(word string) string {
	var b strings.Builder
	for _, c := range word {
		fmt.Fprintf(&b, "[%c%c]", c, c-'a'+'A')
	}
	return b.String()
}

// Definition returns the rule as JSON Schema.
func (r Rule) Definition() map[string]any {
	d := map[string]any{}
	switch {
	case r.Enum != nil:
		d["enum"] = r.Enum
	case r.Pattern == "":
		d["type"], d["minimum"], d["maximum"] = "integer", r.Least, r.Most
		if r.real {
			d["type"] = "number"
		}
	default:
		d["type"], d["pattern"], d["description"] = "string", r.Pattern, r.Words
		if r.Longest > 0 {
			d["maxLength"] = r.Longest
		}
		if r.Not != "" {
			d["not"] = map[string]any{"pattern": r.Not}
		}
	}
	return d
}

// Check returns an error if v, a text, an int64 or a float64, is not one of the rule's values.
func (r Rule) Check(v any) error {
	switch v := v.(type) {
	case int64:
		if v < r.Least || v > r.Most {
			return fmt.Errorf("--%s is %d; must be %d to %d", r.Flag, v, r.Least, r.Most)
		}
	case float64:
		if !(v >= float64(r.Least) && v <= float64(r.Most)) { // also NaN
			return fmt.Errorf("--%s is %v; must be %d to %d", r.Flag, v, r.Least, r.Most)
		}
	case string:
		words := r.Words
		bad := r.Longest > 0 && len(v) > r.Longest
		if r.Enum != nil {
			words, bad = "one of "+strings.Join(r.Enum, ", "), !slices.Contains(r.Enum, v)
		} else if !bad {
			bad = !regexp.MustCompile(r.Pattern).MatchString(v) || r.Not != "" && regexp.MustCompile(r.Not).MatchString(v)
		}
		if bad {
			return fmt.Errorf("--%s is %q; must be %s", r.Flag, v, words)
		}
	}
	return nil
}
