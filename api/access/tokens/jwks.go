package tokens

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/MicahParks/jwkset"
)

// Bounds of a set of keys.
const (
	maxSetBytes = 1 << 20
	maxSetKeys  = 256
	minRSABits  = 2048
	maxRSABits  = 8192
)

// verifying is a key that verifies tokens.
type verifying struct {
	kid        string
	algorithms []string
	key        any
}

// keySet is an immutable set of an issuer's keys.
type keySet struct {
	keys       []verifying
	raw        []byte // the document
	generation uint64
}

// find returns the keys that an algorithm and a kid name. For a token without a kid
// there must be only one key.
func (s *keySet) find(alg, kid string) []any {
	var out []any
	for _, k := range s.keys {
		if (kid == "" || k.kid == kid) && slices.Contains(k.algorithms, alg) {
			out = append(out, k.key)
		}
	}
	if kid == "" && len(out) > 1 {
		return nil
	}
	return out
}

// secretSet returns the set of one shared secret.
func secretSet(secret []byte, algorithms []string) *keySet {
	return &keySet{keys: []verifying{{algorithms: algorithms, key: secret}}}
}

// parseJWKS parses a JWK Set (RFC 7517). It ignores keys that do not verify with one
// of the algorithms, as the RFC requires, and all secrets. It fails if no key is
// left.
func parseJWKS(data []byte, algorithms []string) (*keySet, error) {
	if len(data) > maxSetBytes {
		return nil, fmt.Errorf("the key set has more than %d bytes", maxSetBytes)
	}
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, errors.New("it is not a JWK Set, a JSON object with a list of keys")
	}
	if len(doc.Keys) > maxSetKeys {
		return nil, fmt.Errorf("the key set has %d keys; at most %d are read", len(doc.Keys), maxSetKeys)
	}
	set := &keySet{}
	for _, raw := range doc.Keys {
		if k, ok := parseJWK(raw, algorithms); ok {
			set.keys = append(set.keys, k)
		}
	}
	if len(set.keys) == 0 {
		return nil, fmt.Errorf("none of the key set's %d keys verifies with %q", len(doc.Keys), algorithms)
	}
	return set, nil
}

// parseJWK parses a public key that verifies with one of the algorithms.
func parseJWK(raw []byte, algorithms []string) (verifying, bool) {
	var m jwkset.JWKMarshal
	if err := json.Unmarshal(raw, &m); err != nil || m.KTY == jwkset.KtyOct || m.USE != "" && m.USE != jwkset.UseSig {
		return verifying{}, false
	}
	if len(m.KEYOPS) > 0 && !slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify) {
		return verifying{}, false
	}
	// Certificates are not read, and those at an address are never fetched.
	m.X5C, m.X5T, m.X5TS256, m.X5U = nil, "", "", ""
	jwk, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{SkipKeyOps: true})
	if err != nil {
		return verifying{}, false
	}
	k := verifying{kid: m.KID, key: jwk.Key()}
	for _, alg := range fitting(k.key) {
		if slices.Contains(algorithms, alg) && (m.ALG == "" || string(m.ALG) == alg) {
			k.algorithms = append(k.algorithms, alg)
		}
	}
	return k, len(k.algorithms) > 0
}

// fitting returns the algorithms that a public key is for.
func fitting(key any) []string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits >= minRSABits && bits <= maxRSABits {
			return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
		}
	case *ecdsa.PublicKey:
		switch k.Curve.Params().BitSize {
		case 256:
			return []string{"ES256"}
		case 384:
			return []string{"ES384"}
		case 521:
			return []string{"ES512"}
		}
	case ed25519.PublicKey:
		return []string{"EdDSA"}
	}
	return nil
}
