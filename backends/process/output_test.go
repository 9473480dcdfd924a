//go:build linux

package process

import (
	"bufio"
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestFindHandshake(t *testing.T) {
	const line = "1|1|unix|/tmp/plugin7|grpc|MIIB\n"
	for _, c := range []struct {
		name, output, line, words string
		err                       error
	}{
		{"at once", line + "more\n", line, "", nil},
		{"after words", "one\n\ntwo\n" + line, line, "one\n\ntwo\n", nil},
		{"after words without a line's end", "loading 1" + line, line, "loading 1\n", nil},
		{"after a long line", strings.Repeat("x", 3*maxHandshake) + "\n" + line, line, strings.Repeat("x", 3*maxHandshake) + "\n", nil},
		{"another form of the line", "1|2|tcp|127.0.0.1:7|grpc|\n", "1|2|tcp|127.0.0.1:7|grpc|\n", "", nil},
		{"words that look like it", "a|b|c\n1|x|unix|\n" + line, line, "a|b|c\n1|x|unix|\n", nil},
		{"none", "one\ntwo\n", "", "one\ntwo\n", nil},
		{"cut off", "one\n1|1|unix|/tmp", "", "one\n1|1|unix|/tmp", nil},
		{"nothing", "", "", "", nil},
		{"too much", strings.Repeat("x", maxPreludeBytes+maxHandshake) + line, "", "", errPrelude},
		{"too many lines", strings.Repeat("\n", maxPreludeLines+1) + line, "", "", errPrelude},
	} {
		var words bytes.Buffer
		got, err := findHandshake(bufio.NewReaderSize(strings.NewReader(c.output), maxHandshake), &words)
		if !errors.Is(err, c.err) || string(got) != c.line || c.err == nil && words.String() != c.words {
			t.Errorf("%s: %q, %v; words %.200q", c.name, got, err, words.String())
		}
	}
}

// FuzzFindHandshake checks that a plugin's output is found to hold at most one line that
// says where it listens, and that nothing else of it is lost.
func FuzzFindHandshake(f *testing.F) {
	f.Add([]byte("1|1|unix|/tmp/x|grpc|\n"))
	f.Add([]byte("words\nand 1|1|tcp|x|\n1|1|unix|"))
	f.Add(bytes.Repeat([]byte("x"), 2*maxHandshake))
	f.Fuzz(func(t *testing.T, output []byte) {
		var words bytes.Buffer
		in := bufio.NewReaderSize(bytes.NewReader(output), maxHandshake)
		line, err := findHandshake(in, &words)
		if err != nil {
			return
		}
		if line == nil && !bytes.Equal(words.Bytes(), output) {
			t.Errorf("%q became %q", output, words.Bytes())
		}
		if line != nil && (!bytes.HasPrefix(line, []byte("1|")) || bytes.Count(line, []byte("\n")) != 1 || !bytes.Contains(output, line) || len(line) > maxHandshake) {
			t.Errorf("%q in %q", line, output)
		}
	})
}
