// Package audit writes what is done to a host, by whom, in lines that are chained, and
// finds out whether lines were changed, removed or reordered.
//
// A line is a JSON object. Its last member, hash, is the SHA-256 of the text before it, in
// hex; its member prev is the hash of the line before, and seq its number. Whoever changes
// a line must therefore change all that follow: keep a late hash where nobody of the host
// writes, and that shows as well.
package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pynomaly/pynomaly-runtime/internal/stamp"
)

// Entry is what a line says, beside its place in the chain. Empty members are left out.
type Entry struct {
	Principal  string
	Credential Credential
	Address    string // the caller's
	Action     string
	Model      string
	Version    string
	Digest     string
	Outcome    string // ok, denied, or the type of an error
	RequestID  string
	TraceID    string

	torn string // the SHA-256 of what an interrupted line left before this one
}

// Credential says what a caller has shown.
type Credential struct{ Kind, ID string }

// maxText is the most bytes of a text in a line; the rest is cut off.
const maxText = 512

// maxLine is the most bytes of a line.
const maxLine = 64 << 10

// start is the prev of the first line.
var start = strings.Repeat("0", 2*sha256.Size)

// hashMember is what stands between a line's text and its hash.
const hashMember = `,"hash":"`

// lineEnd is what a line has behind the text that is hashed.
const lineEnd = len(hashMember) + 2*sha256.Size + len(`"}`)

// appendLine writes a line with its line break, and returns its hash.
func appendLine(b []byte, seq uint64, at time.Time, prev string, e *Entry) (line []byte, hash string) {
	begin := len(b)
	b = strconv.AppendUint(append(b, `{"seq":`...), seq, 10)
	b = append(stamp.Append(append(b, `,"time":"`...), at), '"')
	b = member(b, "prev", prev)
	b = member(b, "principal", e.Principal)
	if e.Credential != (Credential{}) {
		b = quote(append(b, `,"credential":{"kind":`...), e.Credential.Kind)
		b = append(quote(append(b, `,"id":`...), e.Credential.ID), '}')
	}
	for _, m := range [...][2]string{
		{"address", e.Address}, {"action", e.Action}, {"model", e.Model}, {"version", e.Version}, {"digest", e.Digest},
		{"outcome", e.Outcome}, {"request_id", e.RequestID}, {"trace_id", e.TraceID}, {"torn", e.torn},
	} {
		b = member(b, m[0], m[1])
	}
	hash = sum(b[begin:])
	b = append(append(b, hashMember...), hash...)
	return append(b, "\"}\n"...), hash
}

func sum(text []byte) string {
	s := sha256.Sum256(text)
	return hex.EncodeToString(s[:])
}

func member(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(append(append(b, `,"`...), name...), `":`...)
	return quote(b, value)
}

// quote writes a text, which may be a client's, as JSON. Whatever is not printable is
// escaped, so that no text looks like a line or tells a terminal anything.
func quote(b []byte, s string) []byte {
	cut := len(s) > maxText
	if cut {
		s = s[:maxText]
	}
	b = append(b, '"')
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == utf8.RuneError && n == 1 || !unicode.IsPrint(r):
			b = escape(b, r)
		default:
			b = append(b, s[:n]...)
		}
		s = s[n:]
	}
	if cut {
		b = append(b, "..."...)
	}
	return append(b, '"')
}

// escape writes a character as JSON's \u has it.
func escape(b []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	unit := func(v rune) {
		b = append(b, '\\', 'u', digits[v>>12&15], digits[v>>8&15], digits[v>>4&15], digits[v&15])
	}
	if r > 0xffff { // a surrogate pair
		r -= 0x10000
		unit(0xd800 + r>>10)
		unit(0xdc00 + r&0x3ff)
		return b
	}
	unit(r)
	return b
}

// link is a line's place in the chain.
type link struct {
	Seq  uint64 `json:"seq"`
	Prev string `json:"prev"`
	Torn string `json:"torn"`
	hash string
}

var (
	errForm = errors.New("it is no line of an audit")
	errHash = errors.New("it was changed")
)

// parseLine reads a line without its line break, and checks its hash.
func parseLine(line []byte) (link, error) {
	at := len(line) - lineEnd
	if at < 0 || !bytes.HasPrefix(line[at:], []byte(hashMember)) || !bytes.HasSuffix(line, []byte(`"}`)) {
		return link{}, errForm
	}
	text, hash := line[:at], string(line[at+len(hashMember):len(line)-len(`"}`)])
	if sum(text) != hash {
		return link{}, errHash
	}
	l := link{hash: hash}
	if err := json.Unmarshal(line, &l); err != nil || l.Seq == 0 || len(l.Prev) != len(start) {
		return link{}, errForm
	}
	return l, nil
}
