package remote_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/api/client"
	"github.com/pynomaly/pynomaly-runtime/api/client/remote"
	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/offline"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func to(t testing.TB, url string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// local opens the model in a directory until the test ends.
func local(t testing.TB, dir string, with model.Backends) *offline.Local {
	t.Helper()
	found, err := modelstore.Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := found[0].Open(t.Context(), with, batching.NewCalls(2))
	if err != nil {
		t.Fatal(err)
	}
	l := offline.NewLocal(m)
	t.Cleanup(func() {
		l.Release()
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

type nothing struct{ io.Writer }

func (nothing) Close() error { return nil }

// scored returns the output of scoring a table, the counts, and the error.
func scored(ctx context.Context, s offline.Scorer, format, in string, batch int) string {
	var out bytes.Buffer
	total, failed, err := offline.ScoreFile(ctx, s, offline.Files{
		Input: "-", Output: "-", Stdin: strings.NewReader(in), Stdout: &out, Format: format, Batch: batch,
		Progress: func(int64) io.WriteCloser { return nothing{io.Discard} },
	})
	return fmt.Sprintf("%s\n%d rows, %d failed, %v", out.String(), total, failed, err)
}

// TestCases checks that every case's rows, and some rows that cannot be scored, get
// the same answers from a host and from the model itself, byte for byte.
func TestCases(t *testing.T) {
	dir := t.TempDir()
	cases := testkit.Cases(t)
	for _, c := range cases {
		testkit.CopyModel(t, dir, c.Name, c.Name, "1.0.0", testkit.WithCalibration("unify"))
	}
	with := testkit.Backends(t, testkit.Proofs())
	h := testkit.Serve(t, testkit.Options{Dir: dir, Backends: with})
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			l := local(t, filepath.Join(dir, c.Name), with)
			m, err := remote.Open(t.Context(), to(t, h.URL), c.Name, "")
			if err != nil {
				t.Fatal(err)
			}
			csv := strings.Join(c.Header, ",") + "\n"
			lines := `{"unknown":1}` + "\n" + `[1]` + "\n" + `no JSON` + "\n"
			for i, r := range c.Text {
				csv += strings.Join(r, ",") + "\n"
				if i%10 == 3 {
					csv += strings.Repeat(",", len(c.Header)-1) + "\n" + "x," + strings.Join(r[1:], ",") + "\n1\n"
				}
				line, err := json.Marshal(c.Rows[i])
				if err != nil {
					t.Fatal(err)
				}
				lines += string(line) + "\n"
			}
			for format, in := range map[string]string{"csv": csv, "ndjson": lines, "none": ""} {
				for _, batch := range []int{1000, 37} {
					want, got := scored(t.Context(), l, format, in, batch), scored(t.Context(), m, format, in, batch)
					if got != want {
						t.Errorf("%s, %d rows a batch:\n%.2000s\nthe model itself:\n%.2000s", format, batch, got, want)
					}
				}
			}
		})
	}
}

// hashing is a detector whose score depends on every bit of a row. It refuses rows
// with certain characters in their text.
type hashing struct{}

func (hashing) Info() sdk.Info { return sdk.Info{} }
func (hashing) Close() error   { return nil }
func (hashing) Score(_ context.Context, in *sdk.Batch, out []float64) error {
	var failed []sdk.RowError
	for i := range out {
		h := fnv.New64a()
		for j := range in.Features() {
			switch x := in.Value(i, j).(type) {
			case float32:
				fmt.Fprint(h, math.Float32bits(x))
			case float64:
				fmt.Fprint(h, math.Float64bits(x))
			default:
				fmt.Fprintf(h, "%T %q", x, fmt.Sprint(x))
			}
		}
		out[i] = float64(h.Sum64()>>11) / (1 << 53)
		switch text := in.Column(3).Strings[i]; {
		case strings.Contains(text, "&"):
			failed = append(failed, sdk.RowError{Row: i, Field: "s", Reason: "is\nodd"})
		case strings.Contains(text, ">"):
			failed = append(failed, sdk.RowError{Row: i, Reason: "row 0: no"})
		case strings.Contains(text, "☃"):
			out[i] = math.NaN()
		}
	}
	if failed != nil {
		return &sdk.RowErrors{Rows: failed}
	}
	return nil
}

const allTypes = `apiVersion: pynomaly.io/v1
kind: Model
id: m
version: %s
artifact: a
threshold: 0.5
features:
  - {name: f, dtype: float32, missing: nan}
  - {name: d, dtype: float64, missing: 0.1}
  - {name: i, dtype: int64, missing: -9007199254740993}
  - {name: s, dtype: string, missing: "é<\""}
  - {name: b, dtype: bool}
`

// hashed writes a version of a model of that detector, and returns what opens it.
func hashed(t testing.TB, dir, version, extra string) model.Backends {
	t.Helper()
	at := filepath.Join(dir, "m", version)
	for name, text := range map[string]string{"a": "a" + version, manifest.FileName: testkit.Patient(fmt.Sprintf(allTypes, version) + extra)} {
		if err := errors.Join(os.MkdirAll(at, 0o750), os.WriteFile(filepath.Join(at, name), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return model.Backends{manifest.BackendONNX: &modeltest.Fake{Make: func(*manifest.Manifest) sdk.Scorer { return hashing{} }}}
}

// TestAnyTable checks for any table that the host's answers are those of the model
// itself.
func TestAnyTable(t *testing.T) {
	for name, extra := range map[string]string{"strict": "", "ignoring": "unknown_features: ignore\n"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			with := hashed(t, dir, "1.0.0", extra)
			h := testkit.Serve(t, testkit.Options{Dir: dir, Backends: with, REST: func(c *rest.Config) { c.MaxRows = 7 }})
			l := local(t, filepath.Join(dir, "m"), with)
			m, err := remote.Open(t.Context(), to(t, h.URL), "m", "1.0.0")
			if err != nil {
				t.Fatal(err)
			}
			cell := rapid.OneOf(
				rapid.SampledFrom([]string{"", "nan", "null", "true", "0", "1", "-0", "1e39", "1e-46", "0.1", "16777217", "9223372036854775807", "-9223372036854775808", "1.5", "inf", "x", "\"a,\n\"\"b\"", "\u2028", "0x1", "+2"}),
				rapid.Map(rapid.Float32(), func(f float32) string { return fmt.Sprint(f) }),
				rapid.Map(rapid.Float64(), func(f float64) string { return fmt.Sprint(f) }),
				rapid.Map(rapid.Int64(), func(i int64) string { return fmt.Sprint(i) }),
				rapid.StringMatching(`[a-z<>&é☃ ]{0,5}`),
			)
			rapid.Check(t, func(rt *rapid.T) {
				header := rapid.SampledFrom([]string{"f,d,i,s,b", "b,s,i,d,f", "s,b", "f,d,i,s,b,more"}).Draw(rt, "header")
				width := strings.Count(header, ",") + 1
				in := header + "\n"
				for range rapid.IntRange(0, 30).Draw(rt, "rows") {
					cells := rapid.SliceOfN(cell, width, width).Draw(rt, "cells")
					in += strings.Join(cells, ",") + "\n"
				}
				batch := rapid.IntRange(1, 20).Draw(rt, "batch")
				if want, got := scored(t.Context(), l, "csv", in, batch), scored(t.Context(), m, "csv", in, batch); got != want {
					rt.Fatalf("%q:\n%s\nthe model itself:\n%s", in, got, want)
				}
			})
		})
	}
}

// TestTextThatIsNone checks that a text that JSON cannot carry fails only its row.
func TestTextThatIsNone(t *testing.T) {
	dir := t.TempDir()
	with := hashed(t, dir, "1.0.0", "")
	h := testkit.Serve(t, testkit.Options{Dir: dir, Backends: with})
	m, err := remote.Open(t.Context(), to(t, h.URL), "m", "")
	if err != nil {
		t.Fatal(err)
	}
	got := scored(t.Context(), m, "csv", "s,b\na\xff,true\n", 10)
	if !strings.Contains(got, "1 rows, 1 failed, <nil>") || !strings.Contains(got, "UTF-8") {
		t.Errorf("%s", got)
	}
}

// TestVersions checks that the version is the newest that answers, an alias's, or
// the exact one. A model that is not loaded gets loaded, and one that cannot be
// loaded says why.
func TestVersions(t *testing.T) {
	dir := t.TempDir()
	var with model.Backends
	for _, v := range []string{"1.0.0", "1.1.0", "2.0.0-rc.1"} {
		with = hashed(t, dir, v, "")
	}
	testkit.WriteModel(t, dir, "bad", map[string][]byte{manifest.FileName: []byte("id: bad")})
	h := testkit.Serve(t, testkit.Options{Dir: dir, Backends: with, Models: func(c *registry.Config) { c.Lazy = true }})
	if errs := h.Registry.SetAliases(t.Context(), map[string]registry.Aliases{"m": {Names: map[string]string{"stable": "1.0.0"}}}); errs != nil {
		t.Fatal(errs)
	}
	for version, want := range map[string]string{"": "1.1.0", "latest": "1.1.0", "stable": "1.0.0", "2.0.0-rc.1": "2.0.0-rc.1"} {
		m, err := remote.Open(t.Context(), to(t, h.URL), "m", version)
		if err != nil || m.Version() != want || len(m.Schema().Features()) != 5 {
			t.Errorf("%q: %+v, %v; want %s", version, m, err, want)
		}
	}
	for name, want := range map[string]string{"m@3.0.0": "no version", "none": "no model", "bad": "bad"} {
		if _, err := (remote.Host{URL: h.URL}).Open(t.Context(), name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBusyHost checks that a busy host is asked again when it says so, and that
// another error ends the table at its rows.
func TestBusyHost(t *testing.T) {
	dir := t.TempDir()
	with := hashed(t, dir, "1.0.0", "")
	h := testkit.Serve(t, testkit.Options{Dir: dir, Backends: with})
	target, err := url.Parse(h.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	var refusals atomic.Int64
	var kind atomic.Value
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/batch") && refusals.Add(-1) >= 0 {
			p := api.NewProblem(kind.Load().(api.ErrorType), "", "not now")
			w.Header().Set("Retry-After", "0")
			w.Header().Set("Content-Type", api.ProblemContentType)
			w.WriteHeader(p.Status)
			_ = json.NewEncoder(w).Encode(p)
			return
		}
		r.Host = target.Host
		proxy.ServeHTTP(w, r)
	}))
	defer busy.Close()
	m, err := remote.Open(t.Context(), to(t, busy.URL), "m", "")
	if err != nil {
		t.Fatal(err)
	}
	in := "s,b\na,true\nb,false\n"
	want := scored(t.Context(), local(t, filepath.Join(dir, "m"), with), "csv", in, 1)
	for _, k := range []api.ErrorType{api.Overloaded, api.RateLimited} {
		kind.Store(k)
		refusals.Store(1)
		if got := scored(t.Context(), m, "csv", in, 1); got != want {
			t.Errorf("%s: %s, want %s", k, got, want)
		}
	}
	kind.Store(api.ScoringError)
	refusals.Store(1)
	if got := scored(t.Context(), m, "csv", in, 1); !strings.Contains(got, "scoring rows 0 to 0") || !strings.Contains(got, "ScoringError") {
		t.Errorf("%s", got)
	}
	kind.Store(api.Overloaded)
	refusals.Store(1 << 30)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got := scored(ended, m, "csv", in, 1); !strings.Contains(got, context.Canceled.Error()) {
		t.Errorf("%s", got)
	}
}

// TestExplainedInParts checks that a request for explanations has few rows, whatever
// the batch size is, so that the host can answer it in time.
func TestExplainedInParts(t *testing.T) {
	dir := t.TempDir()
	with := hashed(t, dir, "1.0.0", "explanation: {method: occlusion, reference: {f: 1, d: 1, i: 1, s: a, b: true}}\n")
	target, err := url.Parse(testkit.Serve(t, testkit.Options{Dir: dir, Backends: with}).URL)
	if err != nil {
		t.Fatal(err)
	}
	var requests, most atomic.Int64
	proxy := httputil.NewSingleHostReverseProxy(target)
	counting := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/batch") {
			body, _ := io.ReadAll(r.Body)
			var sent api.BatchRequest
			if err := json.Unmarshal(body, &sent); err != nil || !sent.ReturnExplanation {
				t.Errorf("%v in %.100s", err, body)
			}
			requests.Add(1)
			most.Store(max(most.Load(), int64(len(sent.Data))))
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		r.Host = target.Host
		proxy.ServeHTTP(w, r)
	}))
	defer counting.Close()
	m, err := remote.Open(t.Context(), to(t, counting.URL), "m", "")
	if err != nil {
		t.Fatal(err)
	}
	m.Explain()
	got := scored(t.Context(), m, "csv", "f,d,i,s,b\n"+strings.Repeat("2,3,4,x,false\n", 250), 1000)
	if !strings.HasSuffix(got, "250 rows, 0 failed, <nil>") || requests.Load() != 3 || most.Load() != 100 {
		t.Errorf("%d requests of at most %d rows: ...%s", requests.Load(), most.Load(), got[max(0, len(got)-200):])
	}
}
