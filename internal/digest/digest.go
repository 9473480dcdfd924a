// Package digest writes the SHA-256 of bytes as manifests, answers and approvals show it.
package digest

import (
	"crypto/sha256"
	"encoding/hex"
)

// Prefix begins every digest that says how it was made.
const Prefix = "sha256:"

// Of returns the SHA-256 of data as sha256:<64 lower-case hexadecimal digits>.
func Of(data []byte) string { return Prefix + Hex(data) }

// Hex returns the SHA-256 of data as 64 lower-case hexadecimal digits.
func Hex(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
