// Package keys creates, stores and recognises API keys.
//
// A key is pyn_<id>_<secret>. The id names the key in lists, logs and the audit. The
// file of keys has only the SHA-256 of the secret.
package keys

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// The parts of a key.
const (
	// Prefix begins every key, so that scanners of source code find leaked keys.
	Prefix       = "pyn_"
	idLength     = 8
	secretBytes  = 32
	secretLength = 52 // of secretBytes in base32
	length       = len(Prefix) + idLength + 1 + secretLength
)

// alphabet is that of base32 in lower case.
const alphabet = "abcdefghijklmnopqrstuvwxyz234567"

// Parse splits a key into its parts, which share its memory. It reports whether the
// text has the form of a key.
func Parse(key []byte) (id, secret []byte, ok bool) {
	if len(key) != length || string(key[:len(Prefix)]) != Prefix || key[len(Prefix)+idLength] != '_' {
		return nil, nil, false
	}
	id, secret = key[len(Prefix):len(Prefix)+idLength], key[length-secretLength:]
	if !plain(id) || !plain(secret) {
		return nil, nil, false
	}
	return id, secret, true
}

// plain reports whether a text has only letters of the alphabet.
func plain[T []byte | string](text T) bool {
	for i := range len(text) {
		if c := text[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// EntryOf returns the entry of a key that exists, without a name and a role.
func EntryOf(key string) (Entry, error) {
	id, secret, ok := Parse([]byte(key))
	if !ok {
		return Entry{}, errors.New("it does not have the form pyn_<id>_<secret>")
	}
	sum := sha256.Sum256(secret)
	return Entry{ID: string(id), SHA256: hex.EncodeToString(sum[:])}, nil
}

// generate returns a new key, its id, and the SHA-256 of its secret in hex.
func generate(random io.Reader) (key, id, sum string, err error) {
	raw := make([]byte, 5+secretBytes) // 5 bytes are 8 letters
	if _, err := io.ReadFull(random, raw); err != nil {
		return "", "", "", fmt.Errorf("making a key: %w", err)
	}
	letters := base32.NewEncoding(alphabet).WithPadding(base32.NoPadding)
	id = letters.EncodeToString(raw[:5])
	secret := letters.EncodeToString(raw[5:])
	hash := sha256.Sum256([]byte(secret))
	return Prefix + id + "_" + secret, id, hex.EncodeToString(hash[:]), nil
}
