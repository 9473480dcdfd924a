package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"
)

func now() time.Time { return time.Date(2030, 1, 2, 3, 4, 5, 6e6, time.UTC) }

func config(file string) Config {
	return Config{File: file, Now: now, Log: slog.New(slog.DiscardHandler), Required: true}
}

func open(t rapid.TB, c Config) *Log {
	t.Helper()
	l, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func put(t rapid.TB, l *Log, n int) {
	t.Helper()
	for range n {
		if err := l.Write(Entry{Principal: "ci", Credential: Credential{"key", "abcdefgh"}, Address: "192.0.2.1", Action: "load_model", Model: "m", Version: "1.0.0", Outcome: "ok", RequestID: "r-1"}); err != nil {
			t.Fatal(err)
		}
	}
}

func closed(t rapid.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// files returns the files of an audit.
func files(t rapid.TB, name string) []string {
	t.Helper()
	all, err := filepath.Glob(name + "*")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func verified(t rapid.TB, name string, lines int) Report {
	t.Helper()
	r, err := Verify(files(t, name), "")
	if err != nil || r.Lines != lines || r.First != 1 || r.Last != uint64(lines) {
		t.Errorf("%+v, %v; want %d lines", r, err, lines)
	}
	return r
}

func read(t rapid.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestChain checks that a chain continues over restarts of the host and over files.
func TestChain(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.log")
	c := config(name)
	l := open(t, c)
	put(t, l, 3)
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := Open(c); err == nil || !strings.Contains(err.Error(), "another host") {
		t.Errorf("two hosts write to it: %v", err)
	}
	closed(t, l)
	first := verified(t, name, 3)
	var line struct {
		Seq        uint64
		Time, Prev string
		Credential struct{ Kind, ID string }
		Outcome    string
		Request    string `json:"request_id"`
	}
	text := bytes.Split(read(t, name), []byte("\n"))
	if err := json.Unmarshal(text[0], &line); err != nil || line.Seq != 1 || line.Prev != start || line.Time != "2030-01-02T03:04:05.006Z" || line.Credential.ID != "abcdefgh" || line.Outcome != "ok" || line.Request != "r-1" {
		t.Errorf("%s: %+v, %v", text[0], line, err)
	}
	c.Rotate = 2000
	l = open(t, c)
	put(t, l, 20)
	closed(t, l)
	verified(t, name, 23)
	if n := len(files(t, name)); n < 4 {
		t.Errorf("%d files", n)
	}
	for _, f := range files(t, name) {
		if n := len(read(t, f)); n > 2000 {
			t.Errorf("%s has %d bytes", f, n)
		}
	}
	if _, err := Verify(files(t, name), first.Hash); err != nil {
		t.Error(err)
	}
	if _, err := Verify(files(t, name)[:1], first.Hash); err == nil || !strings.Contains(err.Error(), "no line has the hash") {
		t.Error(err)
	}
	all := files(t, name)
	slices.Reverse(all)
	if r, err := Verify(all, ""); err != nil || r.Lines != 23 {
		t.Errorf("in another order: %+v, %v", r, err)
	}
	if r, err := Verify(all[:2], ""); err != nil || r.First == 1 {
		t.Errorf("the last two: %+v, %v", r, err)
	}
	if err := os.Remove(files(t, name)[2]); err != nil {
		t.Fatal(err)
	}
	var broken *Broken
	if _, err := Verify(files(t, name), ""); !errors.As(err, &broken) || broken.Line != 1 || !strings.Contains(broken.Reason, "was removed") {
		t.Errorf("a file in the middle is missing: %v", err)
	}
	if _, err := Verify([]string{name + "x"}, ""); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestBetweenFiles checks that a host that ended between two files continues the
// chain of the first.
func TestBetweenFiles(t *testing.T) {
	for _, left := range []string{"", `{"seq":6,"ti`} {
		name := filepath.Join(t.TempDir(), "audit.log")
		l := open(t, config(name))
		put(t, l, 5)
		closed(t, l)
		if err := os.Rename(name, name+".000000000005"); err != nil {
			t.Fatal(err)
		}
		want := 6
		if left != "" {
			if err := os.WriteFile(name, []byte(left), 0o600); err != nil {
				t.Fatal(err)
			}
			want++
		}
		l = open(t, config(name))
		put(t, l, 1)
		closed(t, l)
		verified(t, name, want)
	}
}

// TestInterrupted checks, for a host that ends at any byte of a line, that the chain
// continues, that the part stays, and that the next line records it.
func TestInterrupted(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.log")
	l := open(t, config(name))
	put(t, l, 3)
	closed(t, l)
	whole := read(t, name)
	begin := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for cut := 1; cut < len(whole); cut++ {
		if cut%97 != 0 && cut%7 != 0 && cut < len(whole)-3 && (cut < begin || cut > begin+2) {
			continue // like its neighbours
		}
		if err := os.WriteFile(name, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		kept := bytes.Count(whole[:cut], []byte("\n"))
		torn := 0
		if whole[cut-1] != '\n' {
			if torn = 1; whole[cut] == '\n' { // only the line break is missing
				torn, kept = 0, kept+1
			}
		}
		l := open(t, config(name))
		closed(t, l)
		l = open(t, config(name))
		put(t, l, 1)
		closed(t, l)
		if r := verified(t, name, kept+torn+1); r.Torn != torn {
			t.Errorf("cut at %d: %+v", cut, r)
		}
		if !bytes.HasPrefix(read(t, name), whole[:cut]) {
			t.Errorf("cut at %d: what was left is gone", cut)
		}
	}
	// The host ends again, before the line that records it.
	if err := os.WriteFile(name, append(whole[:begin+20:begin+20], '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	l = open(t, config(name))
	closed(t, l)
	if r := verified(t, name, 3); r.Torn != 1 {
		t.Errorf("%+v", r)
	}
	// The part that was left is changed or removed.
	text := read(t, name)
	for _, changed := range [][]byte{bytes.Replace(text, whole[begin:begin+20], whole[begin+1:begin+20], 1), bytes.Replace(text, append(whole[begin:begin+20:begin+20], '\n'), nil, 1)} {
		if err := os.WriteFile(name, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		var broken *Broken
		if _, err := Verify([]string{name}, ""); !errors.As(err, &broken) || broken.Line != 3 {
			t.Errorf("%v", err)
		}
	}
	for _, damaged := range []string{"x\ny\n", "x\ny", string(whole) + "x\ny\n", strings.Repeat("x", 5*maxLine)} {
		if err := os.WriteFile(name, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(config(name)); !errors.Is(err, errDamaged) {
			t.Errorf("%.20q: %v", damaged, err)
		}
		if string(read(t, name)) != damaged {
			t.Errorf("%.20q was changed", damaged)
		}
	}
}

// TestTampering checks that any change to an audit's lines is found, and that the
// first changed line is named.
func TestTampering(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.log")
	l := open(t, config(name))
	put(t, l, 6)
	closed(t, l)
	whole := read(t, name)
	rapid.Check(t, func(t *rapid.T) {
		lines := slices.Collect(bytes.Lines(bytes.Clone(whole)))
		at := rapid.IntRange(0, len(lines)-2).Draw(t, "line")
		want := at + 1
		switch rapid.SampledFrom([]string{"byte", "remove", "swap", "double", "cut"}).Draw(t, "deed") {
		case "byte":
			i := rapid.IntRange(0, len(lines[at])-1).Draw(t, "byte")
			lines[at][i] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		case "remove":
			lines = slices.Delete(lines, at, at+1)
			if at == 0 {
				return // it looks like an audit whose first file was moved away, which First shows
			}
		case "swap":
			if at == 0 {
				want = 2 // line 2 begins, like the first line of a later file
			}
			lines[at], lines[at+1] = lines[at+1], lines[at]
		case "double":
			lines = slices.Insert(lines, at, lines[at])
			want = at + 2
		case "cut":
			lines[at] = lines[at][:rapid.IntRange(0, len(lines[at])-2).Draw(t, "length")]
			lines[at] = append(lines[at], '\n')
		}
		if err := os.WriteFile(name, bytes.Join(lines, nil), 0o600); err != nil {
			t.Fatal(err)
		}
		var broken *Broken
		if _, err := Verify([]string{name}, ""); !errors.As(err, &broken) || broken.Line != want {
			t.Fatalf("%v, want line %d", err, want)
		}
	})
}

// TestForgedLines checks that what clients send neither looks like a line nor
// controls a terminal.
func TestForgedLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfN(rapid.OneOf(rapid.String(), rapid.Just("a\n{\"seq\":2}"), rapid.Just("\x1b[2J\x00\u202e\u2028\U000E0001\xff\"\\"), rapid.Just(strings.Repeat("é", 400))), 10, 10).Draw(t, "texts")
		e := Entry{texts[0], Credential{texts[1], texts[2]}, texts[3], texts[4], texts[5], texts[6], texts[7], texts[8], texts[9], texts[0], ""}
		line, hash := appendLine(nil, 7, now(), start, &e)
		text := string(line[:len(line)-1])
		if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || len(line) > maxLine {
			t.Fatalf("%q", text)
		}
		l, err := parseLine([]byte(text))
		if err != nil || l.hash != hash || l.Seq != 7 {
			t.Fatalf("%q: %+v, %v", text, l, err)
		}
		var got map[string]any
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatal(err)
		}
		if want := strings.ToValidUTF8(texts[4], "\ufffd"); len(texts[4]) <= maxText && want != "" && len([]rune(want)) == len([]rune(texts[4])) && got["action"] != want {
			t.Fatalf("%q was read as %q", texts[4], got["action"])
		}
	})
}
