package pluginlog_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pynomaly/pynomaly-runtime/internal/pluginlog"
)

// newLog returns a Log whose clock is *now, and the log that it writes to.
func newLog(now *time.Time) (*pluginlog.Log, *strings.Builder) {
	var out strings.Builder
	return pluginlog.New(slog.New(slog.NewTextHandler(&out, nil)), func() time.Time { return *now }, nil), &out
}

func TestLines(t *testing.T) {
	now := time.Unix(1, 0)
	long := strings.Repeat("y", pluginlog.MaxLine)
	for _, c := range []struct {
		name  string
		parts []string
		want  []string // the logged texts; + marks those that were cut
	}{
		{"whole lines", []string{"one\ntwo\n"}, []string{"one", "two"}},
		{"in pieces", []string{"o", "ne\ntw", "o\n"}, []string{"one", "two"}},
		{"without an end", []string{"one\ntwo"}, []string{"one", "two"}},
		{"as long as may be", []string{long + "\nnext\n"}, []string{long, "next"}},
		{"too long", []string{long + "z\nnext\n"}, []string{long + "+", "next"}},
		{"too long, in pieces", []string{long, "z", long, "more\nnext\n"}, []string{long + "+", "next"}},
		{"too long, without an end", []string{long + "z", "more"}, []string{long + "+"}},
		{"nothing in it", []string{"\n \t\n", "\n", "one\n"}, []string{"one"}},
		{"a terminal's commands", []string{"\x1b[31mred\r\xff\n"}, []string{"[31mred \uFFFD"}},
	} {
		l, out := newLog(&now)
		for _, p := range c.parts {
			if n, err := l.Write([]byte(p)); n != len(p) || err != nil {
				t.Fatal(n, err)
			}
		}
		l.Flush()
		var got []string
		for line := range strings.Lines(out.String()) {
			_, text, _ := strings.Cut(line, "text=")
			text, cut, _ := strings.Cut(text, " cut=")
			got = append(got, strings.Trim(text, `"`)+map[bool]string{true: "+"}[cut == "true\n"])
		}
		if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestLinesPerSecond checks that lines above the limit are counted, and that the
// count is logged in the next second.
func TestLinesPerSecond(t *testing.T) {
	now := time.Unix(1, 0)
	l, out := newLog(&now)
	for range 10 * pluginlog.LinesPerSecond {
		_, _ = l.Write([]byte("spam\n"))
	}
	l.Refused("because")
	if n := strings.Count(out.String(), "text=spam"); n != pluginlog.LinesPerSecond {
		t.Errorf("logged %d lines in a second", n)
	}
	now = now.Add(time.Second)
	l.Refused("because")
	_, _ = l.Write([]byte("more\n"))
	for _, want := range []string{"dropped=181", "plugin refused rows", "text=because", "text=more"} {
		if strings.Count(out.String(), want) != 1 {
			t.Errorf("%q is not there once: %s", want, out.String())
		}
	}
	out.Reset()
	_, _ = l.Write([]byte(strings.Repeat("spam\n", 100) + "half"))
	_, _ = l.Write([]byte(" a line\nand half"))
	l.Flush()
	if !strings.Contains(out.String(), "dropped=84") { // 82 of the flood, 2 that were incomplete
		t.Error(out.String())
	}
	if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); !strings.HasSuffix(lines[len(lines)-1], `spam\nhalf a line\nand half" cut=true`) || len(lines[len(lines)-1]) > 4000 {
		t.Errorf("the end of what was dropped is not logged: %s", lines[len(lines)-1])
	}
	if tail := l.Tail(); !strings.HasSuffix(tail, "spam half a line and half") {
		t.Errorf("%q", tail)
	}
	if l.Forget(); l.Tail() != "" {
		t.Errorf("%q", l.Tail())
	}
}

// TestTracebacks checks that a traceback is one record, whatever comes before and after
// it, and in whatever parts it comes.
func TestTracebacks(t *testing.T) {
	const frames = "Traceback (most recent call last):\n  File \"detector.py\", line 3, in <module>\n    import missing\n           ^^^^^^^\n"
	const chained = "During handling of the above exception, another exception occurred:\n\n"
	deep := "Traceback (most recent call last):\n" + strings.Repeat("  File \"detector.py\", line 3, in recurse\n", 6000)
	for _, c := range []struct {
		name, text string
		want       []string // what each record contains
	}{
		{"alone", frames + "ModuleNotFoundError: No module named 'missing'\n", []string{"level=ERROR|most recent|import missing|ModuleNotFoundError: No"}},
		{"among others", "loading\n" + frames + "KeyError: 'x'\nmore\n", []string{"level=INFO|loading", "level=ERROR|most recent|KeyError", "level=INFO|more"}},
		{"of a thread", "Exception in thread Thread-1 (f):\n" + frames + "KeyError: 'x'\n", []string{"Exception in thread", "most recent|KeyError"}},
		{"chained", frames + "KeyError: 'x'\n\n" + chained + frames + "ValueError: y\n", []string{"most recent|KeyError", "During handling|most recent|ValueError: y"}},
		{"without its end", frames, []string{"level=ERROR|most recent|import missing"}},
		{"deep", deep[:20000] + "\nRecursionError: too deep\n", []string{"most recent|lines left out|RecursionError: too deep"}},
		{"without end", deep, []string{"most recent"}},
	} {
		for _, size := range []int{1, 7, 1 << 20} {
			now := time.Unix(1, 0)
			l, out := newLog(&now)
			for text := c.text; text != ""; {
				n := min(size, len(text))
				_, _ = l.Write([]byte(text[:n]))
				text = text[n:]
			}
			l.Flush()
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if c.name == "without end" {
				lines = lines[:1] // the others are a flood
			}
			if len(lines) != len(c.want) {
				t.Errorf("%s, %d bytes at a time: %d records: %.2000s", c.name, size, len(lines), out)
				continue
			}
			for i, want := range c.want {
				for part := range strings.SplitSeq(want, "|") {
					if !strings.Contains(lines[i], part) {
						t.Errorf("%s, %d bytes at a time: record %d has no %q: %.2000s", c.name, size, i, part, lines[i])
					}
				}
			}
		}
	}
}

// TestTracebackFloods checks that a plugin that prints beginnings of tracebacks and
// nothing else is limited like others: no record grows without bound.
func TestTracebackFloods(t *testing.T) {
	for _, line := range []string{"Traceback (most recent call last):\n", strings.Repeat("x", 2000) + " Traceback (most recent call last):\n", "During handling of the above exception, another exception occurred:\n"} {
		now := time.Unix(1, 0)
		l, out := newLog(&now)
		flood := []byte(strings.Repeat(line, 100))
		for range 5000 {
			_, _ = l.Write(flood)
		}
		l.Flush()
		if !strings.Contains(out.String(), "more lines than are kept") {
			t.Errorf("no line of %.40q is dropped", line)
		}
		for record := range strings.Lines(out.String()) {
			if len(record) > pluginlog.MaxRecord+1000 {
				t.Fatalf("a record of lines %.40q has %d bytes", line, len(record))
			}
		}
	}
}

// FuzzLog checks that any output of a plugin is logged as valid text.
func FuzzLog(f *testing.F) {
	for _, seed := range []string{"{", "a\xffb\nc", "\n\n", strings.Repeat("x", 9000), strings.Repeat("\n", 99) + "x"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		now := time.Unix(1, 0)
		l, _ := newLog(&now)
		for _, part := range [][]byte{data, data} {
			if n, err := l.Write(part); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		l.Flush()
		if tail := l.Tail(); !utf8.ValidString(tail) || len(tail) > pluginlog.MaxText+100 || strings.ContainsAny(tail, "\n\x00") {
			t.Errorf("%q", tail)
		}
	})
}

func TestText(t *testing.T) {
	for said, want := range map[string]string{
		"no\nsuch row": "no such row", "": "", strings.Repeat("ä", 600): strings.Repeat("ä", 500) + "...", "a" + strings.Repeat("ä", 600): "a" + strings.Repeat("ä", 499) + "...",
	} {
		if got := pluginlog.Text([]byte(said)); got != want {
			t.Errorf("%q is %q, want %q", said, got, want)
		}
	}
}

// TestTailBeside checks that the tail does not repeat the reason of an error, nor what is
// for those who debug a plugin.
func TestTailBeside(t *testing.T) {
	level := slog.LevelInfo
	l := pluginlog.New(slog.New(slog.DiscardHandler), time.Now, func(line []byte) (slog.Level, string) { return level, string(line) })
	print := func(text string) {
		if _, err := l.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	print("before\nTraceback (most recent call last):\n  File \"a.py\", line 1, in load\nValueError: no such column\nafter\n")
	level = slog.LevelDebug
	print("plugin address\n")
	for reason, want := range map[string]string{
		"ValueError: no such column (in load at a.py:1)": "before; after",
		"it ended": `before; Traceback (most recent call last):   File "a.py", line 1, in load ValueError: no such column; after`,
	} {
		if got := l.TailBeside(reason); got != want {
			t.Errorf("%s: %q, want %q", reason, got, want)
		}
	}
}

// TestSameTraceback checks that a traceback that comes again and again is logged once in a
// second, with how often it came.
func TestSameTraceback(t *testing.T) {
	const text = "Traceback (most recent call last):\n  File \"a.py\", line 1, in score\nValueError: no such row\n"
	now := time.Unix(1, 0)
	l, out := newLog(&now)
	count := func(what string, want int) {
		t.Helper()
		if n := strings.Count(out.String(), what); n != want {
			t.Errorf("%q is there %d times, want %d:\n%s", what, n, want, out)
		}
	}
	for range 5 {
		_, _ = l.Write([]byte(text))
	}
	count("ValueError: no such row", 1)
	_, _ = l.Write([]byte(strings.Replace(text, "no such row", "another", 1)))
	count("ValueError: another", 1)
	now = now.Add(time.Second)
	_, _ = l.Write([]byte(text))
	l.Flush()
	count("ValueError: no such row", 2)
	count("times=4", 1)
}
