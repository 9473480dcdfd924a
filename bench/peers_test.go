package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/bench/peers"
)

// testServer names the environment variable that makes this test binary a server.
const testServer = "BENCH_TEST_SERVER"

func TestMain(m *testing.M) {
	if kind := os.Getenv(testServer); kind != "" {
		fmt.Fprintln(os.Stderr, testServe(kind, os.Args[1]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// testServe answers each row {"data": [[...]]} with its first number, or wrongly.
func testServe(kind, addr string) error {
	if kind == "ends" {
		return errors.New("no model, no server")
	}
	if kind == "parent" { // whose child serves
		child := exec.Command(os.Args[0], addr)
		child.Env = append(os.Environ(), testServer+"=right")
		child.Stderr = os.Stderr
		return child.Run()
	}
	return http.ListenAndServe(addr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Data [][]float64 }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || kind == "refuses batches" && len(body.Data) > 1 {
			http.Error(w, "too many rows", http.StatusBadRequest)
			return
		}
		scores := make([]float64, len(body.Data))
		for i, row := range body.Data {
			scores[i] = row[0]
			if kind == "wrong" || kind == "wrong in batches" && i == 700 {
				scores[i]++
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"scores": scores})
	}))
}

// testComparison returns a comparison of test servers of these kinds, and one that is
// not installed.
func testComparison(t *testing.T, kinds ...string) *comparison {
	t.Helper()
	data := &dataset{names: []string{"a", "b"}, text: [][]string{{"0.5", "1"}, {"0.75", "2"}, {"-1.5", "3"}}}
	o := peerOptions{options: options{runs: 2, warm: 10 * time.Millisecond}, out: t.TempDir(), venvs: t.TempDir(), limit: time.Hour}
	c := &comparison{o: o, reference: []float64{0.5, 0.75, -1.5}}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds {
		p := &peer{
			id: k, name: k, env: []string{testServer + "=" + k}, dir: t.TempDir(),
			args:  func(addr string) []string { return []string{exe, addr} },
			kinds: []kind{{peers.RowsArrays, "/", "/", data.lists, peers.DecodeScores}},
		}
		if k == "not installed" {
			p.venv = "absent"
			if err := os.WriteFile(filepath.Join(o.venvs, "absent.log"), []byte("Collecting\nERROR: no such package\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c.all = append(c.all, &measured{peer: p, got: make([]figures, 1)})
	}
	return c
}

// TestComparison measures servers that answer rightly, and checks that each of the
// others is a row with its reason: a wrong first answer is an error.
func TestComparison(t *testing.T) {
	want := map[string]string{
		"right":            "",
		"parent":           "",
		"wrong":            "wrong answer: the score of row 0 is 1.5, not 0.5",
		"wrong in batches": "1000 rows, arrays: wrong answer: the score of row 700 is",
		"refuses batches":  "1000 rows, arrays: status 400: too many rows",
		"ends":             "it ended at its start: no model, no server",
		"not installed":    "it could not be installed: ERROR: no such package",
	}
	var kinds []string
	for k := range want {
		kinds = append(kinds, k)
	}
	var r *peers.Results
	for duration := 50 * time.Millisecond; ; duration *= 4 { // longer on a machine on which too little happens in this time
		c := testComparison(t, kinds...)
		c.o.duration = duration
		if err := c.run(context.Background()); err != nil {
			t.Fatal(err)
		}
		r = c.results()
		if !slices.ContainsFunc(r.Servers, func(s peers.Server) bool {
			return strings.Contains(s.Reason, "answered nothing") || s.Reason == "" && min(s.Many.CPU, s.Alone.CPU, s.Batch.CPU) == 0
		}) {
			break
		}
	}
	if len(r.Servers) != len(want) || r.Rounds != 2 {
		t.Fatalf("%d servers in %d rounds", len(r.Servers), r.Rounds)
	}
	for _, s := range r.Servers {
		if reason := want[s.Name]; (reason == "") != (s.Reason == "") || !strings.Contains(s.Reason, reason) {
			t.Errorf("%s: %q, not %q", s.Name, s.Reason, reason)
		}
		if measured := s.Many.Rate > 0 && s.Alone.CPU > 0 && s.Batch.P99 > 0 && s.MiB > 0 && s.Start > 0; measured != (s.Reason == "") {
			t.Errorf("%s: %+v", s.Name, s)
		}
	}
	left, err := descendants()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range left {
		if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", d.pid)); err == nil && strings.Contains(string(text), testServer) {
			t.Errorf("process %d is left", d.pid)
		}
	}
}

// TestComparisonEnds checks that a run whose time is over has a row for each server,
// and that an interrupt ends it.
func TestComparisonEnds(t *testing.T) {
	for _, limit := range []time.Duration{0, time.Millisecond, 100 * time.Millisecond} {
		c := testComparison(t, "right", "parent")
		c.o.duration, c.o.limit = time.Second, limit
		if err := c.run(context.Background()); err != nil {
			t.Fatal(err)
		}
		for _, s := range c.results().Servers {
			if s.Reason != "the time for all servers was over" {
				t.Errorf("limit %v: %s: %q", limit, s.Name, s.Reason)
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := testComparison(t, "right").run(ctx); err == nil {
		t.Error("an interrupted run has results")
	}
}

// TestPeerLists checks that each server is installed and gets the same numbers, and
// that ids and names differ.
func TestPeerLists(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	_, targets, _ := strings.Cut(string(text), "\nPEERS :=")
	targets, _, _ = strings.Cut(targets, "\n")
	targets += " "
	data, err := readDataset(options{testdata: filepath.Join("..", "testdata")})
	if err != nil {
		t.Fatal(err)
	}
	ids, names := map[string]bool{}, map[string]bool{}
	for _, p := range allPeers(peerOptions{}, data) {
		if ids[p.id] || names[p.name] {
			t.Errorf("%s, %s: twice", p.id, p.name)
		}
		ids[p.id], names[p.name] = true, true
		if p.venv != "" {
			if _, err := os.Stat(filepath.Join("peers", "requirements-"+p.venv+".txt")); err != nil || !strings.Contains(targets, " "+p.venv+" ") {
				t.Errorf("%s: make bench-peers does not install %s: %v", p.id, p.venv, err)
			}
		}
		for _, k := range p.kinds {
			for _, rows := range []int{1, 2, peers.BatchRows} {
				numbers := numbersIn(t, k.body(rows))
				if k.rows == peers.RowsArrays && p.id[:3] == "mls" {
					numbers = numbers[2:] // the shape
				}
				if len(numbers) != rows*len(data.names) {
					t.Fatalf("%s, %s: %d numbers for %d rows", p.id, k.rows, len(numbers), rows)
				}
				for i, v := range numbers {
					if want := data.values[i/len(data.names)%len(data.values)][i%len(data.names)]; float32(v) != want {
						t.Fatalf("%s, %s: number %d is %v, not %v", p.id, k.rows, i, v, want)
					}
				}
			}
		}
	}
}

// numbersIn returns all numbers of a JSON text, in order.
func numbersIn(t *testing.T, text []byte) []float64 {
	t.Helper()
	var out []float64
	d := json.NewDecoder(strings.NewReader(string(text)))
	for {
		token, err := d.Token()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if v, ok := token.(float64); ok {
			out = append(out, v)
		}
	}
}

func TestParseStat(t *testing.T) {
	const after = " S 7 1 1 0 -1 4194560 100 0 0 0 250 30 0 0 20 0 1 0 98765 1000 200"
	for _, c := range []struct {
		text, want string
		d          descendant
	}{
		{"42 (python)" + after, "", descendant{42, 98765, 2500 * time.Millisecond, 7}},
		{"42 (a (b) c d)" + after, "", descendant{42, 98765, 2500 * time.Millisecond, 7}},
		{"42 (x) S 7", "reading a process's state", descendant{}},
		{"42", "reading a process's state", descendant{}},
		{"x (y)" + after, "reading a process's state", descendant{}},
	} {
		d, err := parseStat([]byte(c.text))
		if d != c.d || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %+v, %v", c.text, d, err)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("42 (a (b) c) S 7 1 1 0 -1 4194560 100 0 0 0 250 30 0 0 20 0 1 0 98765 1000 200"))
	f.Add([]byte("1 ("))
	f.Fuzz(func(t *testing.T, text []byte) {
		if d, err := parseStat(text); err == nil && d.user < 0 {
			t.Errorf("%q: %+v", text, d)
		}
	})
}

// TestClock checks that the machine's clocks go forwards, and that this program's own
// work is none of others.
func TestClock(t *testing.T) {
	before, err := readClock()
	if err != nil {
		t.Fatal(err)
	}
	after := before
	for x := 0.0; after.own == before.own; x++ {
		if math.Sqrt(x) < 0 {
			t.Fatal("no number")
		}
		if math.Mod(x, 1e6) == 0 {
			if after, err = readClock(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if after.machine < before.machine || after.stolen < before.stolen {
		t.Errorf("%+v before %+v", before, after)
	}
	second := clock{at: before.at.Add(time.Second), machine: before.machine + 1500*time.Millisecond, own: before.own + time.Second, stolen: before.stolen + 250*time.Millisecond}
	if others, stolen := second.since(before); others != 0.5 || stolen != 0.25 {
		t.Errorf("%v processors, %v", others, stolen)
	}
}
