package attack

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// mark is in every text by which an attacker means to forge lines.
const mark = "forged-by-the-suite"

// nasty are texts that end lines, end JSON, or control terminals. Each holds the mark.
func nasty() []string {
	return []string{
		"x\",\"principal\":\"" + mark + "\"", "x\n{\"seq\":1,\"principal\":\"" + mark + "\"}", "\x1b]0;" + mark + "\x07", "\u202e" + mark, "\u2028" + mark, "%0a{\"principal\":\"" + mark + "\"}", "\r\n\r\n" + mark, mark + "\x00", "\xff\xfe" + mark,
	}
}

// records returns attacks on what remembers the others.
func records() []attack {
	tampered := func(name, must string, change func(lines [][]byte) [][]byte, says string) attack {
		return attack{name: "the audit: " + name, must: must, run: func(t *testing.T, s *site) string { return s.tampered(t, change, says) }}
	}
	return []attack{
		{name: "texts that forge lines, in paths, bodies, ids, agents and subjects", must: "each is inside of one line, escaped", run: func(t *testing.T, s *site) string { return s.forging(t) }},
		{name: "a key whose name forges a line", must: "refused or escaped", run: func(t *testing.T, s *site) string { return s.forgedName(t) }},
		{name: "the audit of all that", must: "it verifies", run: func(t *testing.T, s *site) string {
			out, err := s.command(t, "audit", "verify", s.audit)
			if err != nil {
				t.Error(err)
			}
			if !regexp.MustCompile(`^\d+ lines in order`).MatchString(out) {
				t.Error(out)
			}
			return "in order"
		}},
		tampered("a byte is changed", "verify names the line", func(lines [][]byte) [][]byte {
			lines[4] = bytes.Replace(lines[4], []byte(`"action":"`), []byte(`"action":"X`), 1)
			return lines
		}, ":5:"),
		tampered("a line is removed", "verify names the next", func(lines [][]byte) [][]byte { return slices.Delete(lines, 4, 5) }, ":5:"),
		tampered("two lines are exchanged", "verify names the first", func(lines [][]byte) [][]byte { lines[4], lines[5] = lines[5], lines[4]; return lines }, ":5:"),
		tampered("a line is doubled", "verify names the second", func(lines [][]byte) [][]byte { return slices.Insert(lines, 5, lines[4]) }, ":6:"),
		tampered("a line is changed, with its hash made anew", "verify names the next", func(lines [][]byte) [][]byte {
			text, _, _ := bytes.Cut(bytes.Replace(lines[4], []byte(`"action":"`), []byte(`"action":"X`), 1), []byte(`,"hash":"`))
			sum := sha256.Sum256(text)
			lines[4] = fmt.Appendf(nil, "%s,\"hash\":\"%s\"}\n", text, hex.EncodeToString(sum[:]))
			return lines
		}, ":6:"),
		tampered("the last lines are removed", "verify --last says so", func(lines [][]byte) [][]byte { return lines[:len(lines)-2] }, "no line has the hash"),
		tampered("a line of another program is added", "verify names it", func(lines [][]byte) [][]byte { return slices.Insert(lines, 3, []byte("{\"seq\":4}\n")) }, ":4:"),
	}
}

// lines returns the lines of the audit.
func (s *site) lines(t *testing.T) [][]byte {
	t.Helper()
	text, err := os.ReadFile(s.audit)
	check(t, err)
	all := slices.Collect(bytes.Lines(text))
	if n := len(all); n > 0 && !bytes.HasSuffix(all[n-1], []byte("\n")) { // it is being written
		all = all[:n-1]
	}
	return all
}

// audited waits for the audit's line of a request.
func (s *site) audited(t *testing.T, requestID string) (line map[string]any) {
	t.Helper()
	s.Eventually("the request is audited", func() bool {
		for _, text := range s.lines(t) {
			if bytes.Contains(text, []byte(requestID)) {
				check(t, json.Unmarshal(text, &line))
				return true
			}
		}
		return false
	})
	return line
}

// tampered verifies a changed copy of the audit.
func (s *site) tampered(t *testing.T, change func(lines [][]byte) [][]byte, says string) string {
	lines := s.lines(t)
	if len(lines) < 10 {
		for range 10 {
			s.one(t, nil, post(modelsPath+"/own/load", "", shown(s.admin)))
		}
		lines = s.lines(t)
	}
	var last struct{ Hash string }
	check(t, json.Unmarshal(lines[len(lines)-1], &last))
	copied := filepath.Join(t.TempDir(), "audit.log")
	for i := range lines {
		lines[i] = bytes.Clone(lines[i])
	}
	write(t, copied, string(bytes.Join(change(lines), nil)))
	out, err := s.command(t, "audit", "verify", copied, "--last", last.Hash)
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("%s, %v; want %q", out, err, says)
		return "nothing"
	}
	_, reason, _ := strings.Cut(strings.TrimSpace(err.Error()), "audit.log:")
	if reason == "" {
		reason = says
	}
	return regexp.MustCompile(`[0-9a-f]{64}`).ReplaceAllString(reason, "…")
}

// forging sends texts that could forge lines, and looks at all lines.
func (s *site) forging(t *testing.T) string {
	escape := func(text string) string {
		var out strings.Builder
		for _, b := range []byte(text) {
			fmt.Fprintf(&out, "%%%02x", b)
		}
		return out.String()
	}
	for _, text := range nasty() {
		quoted, err := json.Marshal(text)
		check(t, err)
		line := strings.NewReplacer("\r", "", "\n", " ", "\x00", "").Replace(text) // else it is no header
		for _, request := range []string{
			post(modelsPath+"/"+escape(text)+"/load", "", shown(s.admin)), get("/"+escape(text), shown(s.admin)), post(predictPath, `{"model_id": `+string(quoted)+`, "data": [1]}`, shown(s.viewer)),
			post(modelsPath+"/own/load", "", shown(s.viewer), "X-Request-ID: "+line+"\r\n", "User-Agent: "+line+"\r\n", "X-Forwarded-For: "+line+"\r\n"), get(modelsPath, shown(line)),
			post(modelsPath+"/own/load", "", "Authorization: Bearer "+es256(s.issuers.key, byKey("a"), claimsOf(isGood, "looks").with("sub", text))+"\r\n"),
			get(modelsPath, "Authorization: Bearer "+es256(s.issuers.key, byKey(text), claimsOf(text, "looks"))+"\r\n"),
		} {
			s.raw(t, request)
		}
	}
	s.one(t, nil, post(modelsPath+"/own/load", "", shown(s.viewer), "X-Request-ID: the-end-of-it\r\n"))
	s.audited(t, "the-end-of-it")
	for _, file := range s.written(t) {
		if text, err := os.ReadFile(file); err == nil && (file == s.audit || strings.Contains(filepath.Base(file), "log-")) {
			s.oneLineEach(t, file, text)
		}
	}
	return "all lines are whole, and none has a member that the host did not write"
}

// oneLineEach fails the test if a line is no object of the host's own.
func (s *site) oneLineEach(t *testing.T, file string, text []byte) {
	t.Helper()
	for line := range bytes.Lines(text) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // it is being written
		}
		var members map[string]any
		if err := json.Unmarshal(line, &members); err != nil {
			t.Fatalf("%s: %v: %q", filepath.Base(file), err, line)
		}
		if members["principal"] == mark || members["seq"] == 1.0 && bytes.Contains(line, []byte(mark)) {
			t.Errorf("%s has a forged line: %s", filepath.Base(file), line)
		}
		if bytes.ContainsFunc(bytes.TrimSuffix(line, []byte("\n")), func(r rune) bool {
			return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028'
		}) {
			t.Errorf("%s has a line that controls terminals: %q", filepath.Base(file), line)
		}
	}
}

// forgedName makes keys whose names could forge lines.
func (s *site) forgedName(t *testing.T) string {
	for _, text := range nasty() {
		if strings.Contains(text, "\x00") { // no argument can hold it
			continue
		}
		_, _ = s.command(t, "key", "create", "--file", s.keys, "--role", "viewer", "--name", text)
	}
	out, err := s.command(t, "key", "list", "--file", s.keys)
	check(t, err)
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "{") || strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }) {
			t.Errorf("a line of key list: %q", line)
		}
	}
	if a := s.one(t, nil, get(modelsPath, shown(s.viewer))); a.status != 200 {
		t.Errorf("afterwards: %v", a)
	}
	return "no line is forged"
}
