package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DefaultKeysSecret is the Secret of API keys if the Environment names none.
const DefaultKeysSecret = "pynomaly-keys" //nolint:gosec // the name of a Secret is not secret

// openEnvironment is the environment whose hosts answer everybody unless it says
// otherwise.
const openEnvironment = "development"

// Access says who may use an environment's hosts.
type Access struct {
	// AnonymousPredict lets callers without credentials do what viewers may: predict
	// and read. Default: true in the Environment named development, false elsewhere.
	// +optional
	AnonymousPredict *bool `json:"anonymousPredict,omitempty"`
	// KeysSecret is a Secret in the environment's namespace. Its item keys.yaml is the
	// file of API keys, which `deploy key` maintains; other items are files that jwt may
	// name. Default: pynomaly-keys.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",message="keysSecret must be the name of a Secret: lower-case letters, digits, - and ."
	// +optional
	KeysSecret string `json:"keysSecret,omitempty"`
	// JWT says which JSON Web Tokens hosts accept.
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.exists_one(b, a.issuer == b.issuer && a.audience == b.audience))",message="jwt names an issuer and audience twice"
	// +optional
	JWT []JWT `json:"jwt,omitempty"`
}

// JWT says which tokens of one issuer hosts accept, and what they allow.
//
// +kubebuilder:validation:XValidation:rule="has(self.jwks) != has(self.secretFile)",message="a jwt takes either jwks or secretFile"
// +kubebuilder:validation:XValidation:rule="self.algorithms.all(a, a.startsWith('HS') == has(self.secretFile))",message="the algorithms HS256, HS384 and HS512 go with secretFile, all others with jwks"
// +kubebuilder:validation:XValidation:rule="!has(self.ca) || has(self.jwks) && self.jwks.startsWith('https://')",message="ca goes with a jwks that is an https URL"
type JWT struct {
	// Issuer is the claim iss of its tokens.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Issuer string `json:"issuer"`
	// Audience is what the claim aud must contain.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Audience string `json:"audience"`
	// JWKS is the https URL of the issuer's public keys, which Egress must admit, or the
	// item of KeysSecret that has them.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.matches('^(https://[^/@]+(/.*)?|[A-Za-z0-9._-]+)$')",message="jwks must be an https URL, or the name of an item of keysSecret"
	// +optional
	JWKS string `json:"jwks,omitempty"`
	// CA is the item of KeysSecret with the CAs that verify the server of JWKS; default:
	// those of the image.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9._-]+$')",message="ca must be the name of an item of keysSecret"
	// +optional
	CA string `json:"ca,omitempty"`
	// SecretFile is the item of KeysSecret with the secret of an HMAC.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9._-]+$')",message="secretFile must be the name of an item of keysSecret"
	// +optional
	SecretFile string `json:"secretFile,omitempty"`
	// Algorithms of its signatures.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=13
	// +kubebuilder:validation:items:Enum=HS256;HS384;HS512;RS256;RS384;RS512;PS256;PS384;PS512;ES256;ES384;ES512;EdDSA
	Algorithms []string `json:"algorithms"`
	// Leeway for differences between clocks; 5 minutes at most; default 30 s.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^(0s?|[0-9]{1,3}ms|[0-9]{1,2}(\.[0-9]{1,9})?s|[0-4]m([0-5]?[0-9](\.[0-9]{1,9})?s)?|5m(0s)?)$`
	// +optional
	Leeway *metav1.Duration `json:"leeway,omitempty"`
	// Claims are the names of claims; dots separate the parts of a path.
	// +optional
	Claims Claims `json:"claims,omitempty"`
	// Roles maps values of the claim of roles to roles of hosts.
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(v, self[v] in ['viewer', 'operator', 'admin', 'controller'])",message="roles must map to viewer, operator, admin or controller"
	Roles map[string]RoleName `json:"roles"`
}

// RoleName is the name of a role.
//
// +kubebuilder:validation:MaxLength=64
type RoleName string

// Claims are the names of a token's claims.
type Claims struct {
	// Subject names the caller; default: sub.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Subject string `json:"subject,omitempty"`
	// Roles; default: roles.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Roles string `json:"roles,omitempty"`
	// Models that the token may see, as patterns; empty: all.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Models string `json:"models,omitempty"`
}

// AccessOf returns who may use the hosts of an environment, with all defaults.
func (e *Environment) AccessOf() Access {
	return e.Spec.Access.WithDefaults(e.Name)
}

// WithDefaults returns a with the defaults of an environment.
func (a *Access) WithDefaults(environment string) Access {
	var out Access
	if a != nil {
		out = *a.DeepCopy()
	}
	if out.AnonymousPredict == nil {
		open := environment == openEnvironment
		out.AnonymousPredict = &open
	}
	if out.KeysSecret == "" {
		out.KeysSecret = DefaultKeysSecret
	}
	return out
}
