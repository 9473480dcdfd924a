package peers

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

func fixedResults(t *testing.T) *Results {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r Results
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

// TestGolden compares the tables and the chart of fixed results with checked-in ones.
func TestGolden(t *testing.T) {
	r := fixedResults(t)
	for file, got := range map[string]string{"page.md": Page(r), "summary.md": Summary(r), "chart.svg": Chart(r)} {
		path := filepath.Join("testdata", file)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s has changed; -update accepts it:\n%s", file, got)
		}
	}
}

// TestNothingIsLeftOut checks that the tables and the chart name each server, and the
// tables the reason of those without figures, in cells that hold.
func TestNothingIsLeftOut(t *testing.T) {
	r := fixedResults(t)
	for name, text := range map[string]string{"page": Page(r), "summary": Summary(r)} {
		for _, s := range r.Servers {
			if !strings.Contains(text, title(s)) {
				t.Errorf("the %s leaves out %s", name, s.Name)
			}
		}
		for _, reason := range []string{"not measured: wrong answer: the score of row 0 is 1, not 2", `not measured: it could not be installed: no \| such &lt;package>`} {
			if !strings.Contains(text, reason) {
				t.Errorf("the %s leaves out %q", name, reason)
			}
		}
		columns := 0
		for line := range strings.Lines(text) {
			n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
			if n > 0 && columns > 0 && n != columns {
				t.Errorf("%s: %q has %d bars, the line before %d", name, line, n, columns)
			}
			columns = n
		}
	}
}

// TestChartIsXML checks that the chart is well-formed, with as many bars as servers
// with figures, none of which leaves the image.
func TestChartIsXML(t *testing.T) {
	few := &Results{Servers: []Server{{Name: "one", Many: Figures{Rate: 0.2}}}}
	for name, r := range map[string]*Results{"fixed": fixedResults(t), "none": {}, "one slow server": few} {
		bars, want := 0, 0
		for _, s := range r.Servers {
			if s.Reason == "" {
				want++
			}
		}
		d := xml.NewDecoder(strings.NewReader(Chart(r)))
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			e, ok := token.(xml.StartElement)
			if !ok || e.Name.Local != "rect" || !strings.HasPrefix(attribute(e, "class"), "bar") {
				continue
			}
			bars++
			var width float64
			if err := json.Unmarshal([]byte(attribute(e, "width")), &width); err != nil || width <= 0 || chartLeft+width > chartWidth-120 {
				t.Errorf("%s: a bar is %q wide", name, attribute(e, "width"))
			}
		}
		if bars != want {
			t.Errorf("%s: %d bars for %d servers", name, bars, want)
		}
	}
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// TestCheck checks that only right answers pass.
func TestCheck(t *testing.T) {
	reference := []float64{0.25, -0.5}
	for _, c := range []struct {
		name, answer string
		decode       Decode
		rows         int
		want         string // part of the error; empty: none
	}{
		{"scores", `{"scores": [0.25]}`, DecodeScores, 1, ""},
		{"within the tolerance", `{"scores": [0.250009]}`, DecodeScores, 1, ""},
		{"beyond the tolerance", `{"scores": [0.250011]}`, DecodeScores, 1, "wrong answer: the score of row 0 is 0.250011, not 0.25"},
		{"the reference repeats", `{"scores": [0.25, -0.5, 0.25]}`, DecodeScores, 3, ""},
		{"a later row is wrong", `{"scores": [0.25, -0.5, 0.5]}`, DecodeScores, 3, "the score of row 2"},
		{"too few", `{"scores": [0.25]}`, DecodeScores, 2, "1 scores for 2 rows"},
		{"too many", `{"scores": [0.25, -0.5]}`, DecodeScores, 1, "2 scores for 1 rows"},
		{"other members", `{"score": 0.25}`, DecodeScores, 1, "0 scores for 1 rows"},
		{"no JSON", `ok`, DecodeScores, 1, "reading an answer"},
		{"a tensor", `{"outputs": [{"data": [0.25, -0.5]}]}`, DecodeTensor, 2, ""},
		{"a wrong tensor", `{"outputs": [{"data": [0.25, 0.5]}]}`, DecodeTensor, 2, "the score of row 1"},
		{"no tensor", `{"outputs": []}`, DecodeTensor, 2, "no outputs"},
		{"the host, one row", `{"prediction": 0.9, "score": 0.25}`, DecodeHost, 1, ""},
		{"the host, oriented", `{"prediction": 0.9, "score": -0.25}`, DecodeOriented, 1, ""},
		{"the host, the other sign", `{"prediction": 0.9, "score": -0.25}`, DecodeHost, 1, "wrong answer"},
		{"the host, a batch", `{"predictions": [{"score": -0.25}, {"score": 0.5}]}`, DecodeOriented, 2, ""},
		{"the host, a failed row", `{"predictions": [{"score": -0.25}, {"error": {}}]}`, DecodeOriented, 2, "row 1 has no score"},
		{"the host, an error", `{"error": "ModelNotFound"}`, DecodeHost, 1, "0 scores for 1 rows"},
	} {
		err := Check([]byte(c.answer), c.decode, reference, c.rows)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, not %q", c.name, err, c.want)
		}
	}
}

// FuzzCheck checks that no answer ends the program, and that no answer passes with
// another number of rows.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{`{"scores": [0.25]}`, `{"outputs": [{"data": [0.25]}]}`, `{"score": 0.25}`, `{"predictions": [null]}`, `{"outputs": [null]}`, `[`, `null`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		for _, decode := range []Decode{DecodeScores, DecodeTensor, DecodeHost, DecodeOriented} {
			got, err := decode(answer)
			if checked := Check(answer, decode, []float64{0.25}, len(got)+1); checked == nil {
				t.Errorf("%q passes as %d rows (%v)", answer, len(got)+1, err)
			}
		}
	})
}
