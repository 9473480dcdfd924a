// Package audit records who did what to a host, in chained lines, and verifies that
// no line was changed, removed or reordered.
//
// A line is a JSON object. Its last member, hash, is the SHA-256 in hex of the text
// before it. Its member prev is the hash of the line before, and seq is its number.
// Whoever changes a line must therefore change all lines after it. To detect even
// that, keep a late hash where nobody with access to the host can write.
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

// Entry is the content of a line besides its place in the chain. Empty members are
// left out.
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

	torn string // SHA-256 of what an interrupted line left before this one
}

// Credential names the credential that a caller has shown.
type Credential struct{ Kind, ID string }

// maxText is the largest length in bytes of a text in a line. Longer texts are cut.
const maxText = 512

// maxLine is the largest length of a line in bytes.
const maxLine = 64 << 10

// start is the prev of the first line.
var start = strings.Repeat("0", 2*sha256.Size)

// hashMember is between a line's text and its hash.
const hashMember = `,"hash":"`

// lineEnd is the length of a line after the hashed text.
const lineEnd = len(hashMember) + 2*sha256.Size + len(`"}`)

// appendLine appends a line with its line break, and returns its hash.
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

// quote appends a text, which may come from a client, as JSON. It escapes everything
// that is not printable, so that no text looks like a line or controls a terminal.
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

// escape appends a character as a \u escape of JSON.
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
	errForm = errors.New("it is not a line of an audit")
	errHash = errors.New("it was changed")
)

// parseLine parses a line without its line break, and checks its hash.
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
