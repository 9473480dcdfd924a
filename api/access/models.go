package access

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds of a grant by model.
const (
	maxPatterns = 256
	maxPattern  = 128
)

// Models is a set of models, given by patterns of their ids. The zero value is
// empty.
type Models struct {
	all   bool
	exact []string // sorted
	globs []string
}

// AllModels returns the set of all models.
func AllModels() Models { return Models{all: true} }

// ParseModels parses patterns of model ids, in which * stands for any text and ? for
// any one character. Without patterns the set is empty.
func ParseModels(patterns []string) (Models, error) {
	if len(patterns) > maxPatterns {
		return Models{}, fmt.Errorf("there are %d patterns of models; at most %d are allowed", len(patterns), maxPatterns)
	}
	var m Models
	for _, p := range patterns {
		switch {
		case p == "" || len(p) > maxPattern || strings.Trim(p, "*?-_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != "":
			return Models{}, fmt.Errorf("%.140q is not a pattern of models: write 1 to %d letters, digits, -, _, * and ?", p, maxPattern)
		case strings.Trim(p, "*") == "":
			m.all = true
		case strings.ContainsAny(p, "*?"):
			m.globs = append(m.globs, p)
		default:
			m.exact = append(m.exact, p)
		}
	}
	slices.Sort(m.exact)
	return m, nil
}

// All reports whether the set has every model.
func (m *Models) All() bool { return m.all }

// Match reports whether the set has the model. It allocates nothing.
func (m *Models) Match(id string) bool {
	if m.all {
		return true
	}
	if _, ok := slices.BinarySearch(m.exact, id); ok {
		return true
	}
	for _, g := range m.globs {
		if match(g, id) {
			return true
		}
	}
	return false
}

// match compares text with a pattern of * and ?. After a mismatch it returns only to
// the last *, so that the cost is at most the product of the lengths.
func match(pattern, text string) bool {
	p, t := 0, 0
	star, from := -1, 0 // the last *, and where in the text the rest of the pattern was tried
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p, t = p+1, t+1
		case star >= 0:
			from++
			p, t = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
