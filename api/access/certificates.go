package access

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
)

// Certificates assigns roles to client certificates.
type Certificates struct{ rules []certificateRule }

type certificateRule struct {
	field, value string
	role         string
	actions      Actions
}

// CertificateRule says which certificates have a role. Match is CN=<common name> of
// the subject, or DNS:<name>, URI:<uri> or email:<address> of the alternative names.
// The whole value must match.
type CertificateRule struct{ Match, Role string }

// NewCertificates checks the rules.
func NewCertificates(rules []CertificateRule, roles *Roles) (*Certificates, error) {
	c := &Certificates{}
	for _, r := range rules {
		i := strings.IndexAny(r.Match, "=:")
		if i < 0 || i+1 == len(r.Match) || !slices.Contains([]string{"CN=", "DNS:", "URI:", "email:"}, r.Match[:i+1]) {
			return nil, fmt.Errorf("%.100q matches no certificate: write CN=<common name>, DNS:<name>, URI:<uri> or email:<address>", r.Match)
		}
		actions, err := roles.Actions(r.Role)
		if err != nil {
			return nil, fmt.Errorf("certificates of %s: %w", r.Match, err)
		}
		c.rules = append(c.rules, certificateRule{r.Match[:i], r.Match[i+1:], r.Role, actions})
	}
	return c, nil
}

// Lookup returns the principal of a certificate, with the roles of all rules that
// match. It returns nil if no rule matches: then the certificate identifies nobody.
// The certificate must have been verified, because Lookup reads only its names.
func (c *Certificates) Lookup(cert *x509.Certificate) *Principal {
	var p *Principal
	for i := range c.rules {
		r := &c.rules[i]
		if !r.matches(cert) {
			continue
		}
		if p == nil {
			p = &Principal{Kind: Certificate, ID: cert.Subject.String(), Name: cert.Subject.CommonName, Models: AllModels()}
			if p.ID == "" {
				p.ID = r.field + ":" + r.value // a certificate with only alternative names
			}
			if p.Name == "" {
				p.Name = r.value
			}
		}
		if !slices.Contains(p.Roles, r.role) {
			p.Roles = append(p.Roles, r.role)
			p.Actions |= r.actions
		}
	}
	return p
}

func (r *certificateRule) matches(cert *x509.Certificate) bool {
	switch r.field {
	case "CN":
		return cert.Subject.CommonName == r.value
	case "DNS":
		return slices.ContainsFunc(cert.DNSNames, func(n string) bool { return strings.EqualFold(n, r.value) })
	case "email":
		return slices.Contains(cert.EmailAddresses, r.value)
	}
	for _, u := range cert.URIs {
		if u.String() == r.value {
			return true
		}
	}
	return false
}
