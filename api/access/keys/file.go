package keys

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/internal/printable"
	y "github.com/pynomaly/pynomaly-runtime/internal/strictyaml"
)

// maxName is the largest length of a key's name in bytes.
const maxName = 128

// Entry describes one key.
type Entry struct {
	ID      string    `yaml:"id"`
	Name    string    `yaml:"name,omitempty"` // for people
	Role    string    `yaml:"role"`
	Models  []string  `yaml:"models,omitempty"` // patterns; nil: every model
	SHA256  string    `yaml:"sha256"`           // of the secret, in hex
	Created time.Time `yaml:"created,omitempty"`
	Expires time.Time `yaml:"expires,omitempty"` // zero: never
	Revoked time.Time `yaml:"revoked,omitempty"` // zero: not revoked; any time means that it is revoked
}

// Status returns a key's state: active, expired or revoked.
func (e *Entry) Status(now time.Time) string {
	switch {
	case !e.Revoked.IsZero():
		return "revoked"
	case !e.Expires.IsZero() && !now.Before(e.Expires):
		return "expired"
	}
	return "active"
}

// Decode reads a file of keys. The error lists every problem with its line.
func Decode(data []byte) ([]Entry, error) {
	var all []Entry
	d := y.Decode(data, y.Fields{"keys": y.List(func(i int) y.Field {
		all = append(all, Entry{})
		e := &all[i]
		return y.Object(y.Fields{
			"id": y.String(&e.ID), "name": y.String(&e.Name), "role": y.String(&e.Role), "models": y.Strings(&e.Models), "sha256": y.String(&e.SHA256),
			"created": y.Parsed(&e.Created, parseTime, aTime), "expires": y.Parsed(&e.Expires, parseTime, aTime), "revoked": y.Parsed(&e.Revoked, parseTime, aTime),
		})
	})})
	if d.Err() == nil && !d.Has("keys") {
		d.Problemf("", "has no list of keys")
	}
	seen := map[string]bool{}
	for i := range all {
		at := fmt.Sprintf("keys[%d]", i)
		if d.Has(at+".models") && len(all[i].Models) == 0 {
			d.Problemf(at+".models", "is empty: leave it out for every model, or name some")
		}
		all[i].check(func(key, format string, args ...any) { d.Problemf(at+key, format, args...) })
		if seen[all[i].ID] {
			d.Problemf(at+".id", "is the id of another key")
		}
		seen[all[i].ID] = true
	}
	if err := d.Err(); err != nil {
		return nil, err //nolint:wrapcheck // it says all
	}
	return all, nil
}

func (e *Entry) check(problem func(key, format string, args ...any)) {
	if len(e.ID) != idLength || !plain(e.ID) {
		problem(".id", "must be %d letters and digits, as key create makes it", idLength)
	}
	if len(e.Name) > maxName || e.Name != printable.Line(e.Name) {
		problem(".name", "must be one line of at most %d bytes", maxName)
	}
	if e.Role == "" {
		problem(".role", "is missing")
	}
	if sum, err := hex.DecodeString(e.SHA256); err != nil || len(sum) != 32 || e.SHA256 != strings.ToLower(e.SHA256) {
		problem(".sha256", "must be the SHA-256 of the key's secret: 64 lower-case hex digits")
	}
	if _, err := access.ParseModels(e.Models); err != nil {
		problem(".models", "%v", err)
	}
}

const aTime = "a time such as 2030-01-31T12:00:00Z"

func parseTime(v string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, v)
	if err == nil && (t.IsZero() || t.Year() > 9999) {
		err = fmt.Errorf("%q is not a time that a key can have", v)
	}
	return t.UTC(), err
}

// head is the beginning of the file.
const head = `# API keys: of each, its role and the SHA-256 of its secret. A host takes up changes within 2 s.
# pynomaly-runtime key create, list, revoke and rotate keep this file; they write it anew, without comments of yours.
`

// Encode writes a file of keys.
func Encode(all []Entry) ([]byte, error) {
	if all == nil {
		all = []Entry{}
	}
	text, err := yaml.Marshal(map[string][]Entry{"keys": all})
	if err != nil {
		return nil, fmt.Errorf("writing keys: %w", err)
	}
	return append([]byte(head), text...), nil
}
