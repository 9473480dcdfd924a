package tokens

import (
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pynomaly/pynomaly-runtime/api/access"
)

// maxSubject is the largest length of a subject in bytes.
const maxSubject = 256

// at returns the claim at a path: the claim that has the whole path as its name, or
// else the one that the path's parts lead to.
func at(claims map[string]any, path string) (any, bool) {
	if v, ok := claims[path]; ok {
		return v, true
	}
	first, rest, more := strings.Cut(path, ".")
	if !more {
		return nil, false
	}
	below, ok := claims[first].(map[string]any)
	if !ok {
		return nil, false
	}
	return at(below, rest)
}

// texts reads a claim that is a list of texts, or a text with spaces between words.
func texts(v any) ([]string, bool) {
	switch v := v.(type) {
	case string:
		return strings.Fields(v), true
	case []any:
		out := make([]string, 0, len(v))
		for _, one := range v {
			s, ok := one.(string)
			if !ok {
				return nil, false
			}
			out = append(out, s)
		}
		return out, true
	}
	return nil, false
}

// principal returns the principal of verified claims.
func (i *issuer) principal(claims jwt.MapClaims, roles *access.Roles) (*access.Principal, error) {
	v, _ := at(claims, i.Claims.Subject)
	subject, ok := v.(string)
	if !ok || subject == "" || len(subject) > maxSubject {
		return nil, errSubject
	}
	p := &access.Principal{Kind: access.Token, ID: i.Issuer.Issuer + "#" + subject, Name: subject, Models: access.AllModels()}
	if v, ok := at(claims, i.Claims.Roles); ok {
		values, ok := texts(v)
		if !ok {
			return nil, errClaims
		}
		for _, value := range values {
			if role, ok := i.Roles[value]; ok && !slices.Contains(p.Roles, role) {
				p.Roles = append(p.Roles, role)
			}
		}
	}
	var err error
	if p.Actions, err = roles.Actions(p.Roles...); err != nil {
		return nil, errClaims // New has checked them
	}
	if i.Claims.Models == "" {
		return p, nil
	}
	// A token without the claim sees no model, because issuers leave out empty
	// claims.
	var patterns []string
	if v, ok := at(claims, i.Claims.Models); ok {
		if patterns, ok = texts(v); !ok {
			return nil, errClaims
		}
	}
	if p.Models, err = access.ParseModels(patterns); err != nil {
		return nil, errClaims
	}
	return p, nil
}
