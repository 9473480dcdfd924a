package entrance

import (
	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/api/access/limits"
	"github.com/pynomaly/pynomaly-runtime/api/access/tokens"
	"github.com/pynomaly/pynomaly-runtime/internal/config"
)

// issuers returns the issuers of the configuration.
func issuers(all []config.JWT) []tokens.Issuer {
	out := make([]tokens.Issuer, len(all))
	for i, j := range all {
		out[i] = tokens.Issuer{
			Issuer: j.Issuer, Audience: j.Audience, JWKS: j.JWKS, SecretFile: j.SecretFile, CA: j.CA, Algorithms: j.Algorithms, Leeway: j.Leeway,
			Claims: tokens.Claims(j.Claims), Roles: j.Roles,
		}
	}
	return out
}

func certificates(all []config.CertificateRole, roles *access.Roles) (*access.Certificates, error) {
	rules := make([]access.CertificateRule, len(all))
	for i, r := range all {
		rules[i] = access.CertificateRule(r)
	}
	return access.NewCertificates(rules, roles)
}

// rates returns the rates of the configuration, if they are enabled.
func rates(r config.Rates) limits.Rates {
	if !r.Enabled {
		return limits.Rates{}
	}
	return limits.Rates{
		limits.Predict: limits.Rate(r.Predict), limits.BatchPredict: limits.Rate(r.BatchPredict), limits.ModelManagement: limits.Rate(r.ModelManaged),
	}
}
