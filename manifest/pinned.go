package manifest

import (
	"errors"
	"strings"
)

// Errors of ParsePinned.
var (
	ErrName   = errors.New("is not <model>@<version>, or <model>@<version>=sha256:<digest>")
	ErrDigest = errors.New("has a digest that is not \"sha256:\" and 64 hex digits")
)

// ParsePinned parses id@version, or id@version=sha256:... . The digest is empty if
// the text has none.
func ParsePinned(text string) (id, version, digest string, err error) {
	name, digest, pinned := strings.Cut(text, "=")
	id, version, ok := strings.Cut(name, "@")
	switch {
	case !ok || !ValidID(id) || !ValidVersion(version):
		return "", "", "", ErrName
	case pinned && !ValidDigest(digest):
		return "", "", "", ErrDigest
	}
	return id, version, digest, nil
}
