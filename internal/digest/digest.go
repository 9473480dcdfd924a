// Package digest formats SHA-256 digests as manifests, answers and approvals show
// them.
package digest

import (
	"crypto/sha256"
	"encoding/hex"
)

// Prefix is the prefix of a digest that names its algorithm.
const Prefix = "sha256:"

// Of returns the SHA-256 of data as sha256:<64 lower-case hexadecimal digits>.
func Of(data []byte) string { return Prefix + Hex(data) }

// Hex returns the SHA-256 of data as 64 lower-case hexadecimal digits.
func Hex(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
