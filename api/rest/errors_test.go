package rest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

const goodRow = `{"f0": 8, "f1": 155, "f2": 62, "f3": 26, "f4": 495, "f5": 34, "f6": 0.543, "f7": 46}`

// sent is a client's request in a test.
type sent struct {
	method, path, body string
	header             map[string]string
}

func do(t testing.TB, h *testkit.Host, s sent) (*http.Response, []byte) {
	t.Helper()
	method := s.method
	if method == "" {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(t.Context(), method, h.URL+s.path, strings.NewReader(s.body))
	if err != nil {
		t.Fatal(err)
	}
	if s.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range s.header {
		req.Header.Set(k, v)
	}
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

func twoModels(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	testkit.CopyModel(t, dir, "pima-lof", "pima", "1.0.0", nil)
	testkit.CopyModel(t, dir, "pima-lof", "pima", "1.1.0-rc.1", nil)
	testkit.CopyModel(t, dir, "mammography-gmm", "mammo", "1.0.0", nil)
	testkit.CopyModel(t, dir, "mammography-gmm", "broken", "1.0.0", func(s string) string { return strings.Replace(s, "digest: sha256:", "digest: sha256:0000", 1) })
	return dir
}

// TestErrors checks every error of the API with its status, its type, its field and
// what to change.
func TestErrors(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t), REST: func(c *rest.Config) { c.BodyLimit, c.MaxRows = 64<<10, 20 }})
	const one, many = "/api/v1/predict", "/api/v1/predict/batch"
	with := func(members string) string { return `{"model_id":"pima","data":` + goodRow + members + `}` }
	for _, c := range []struct {
		name string
		sent
		status int
		kind   api.ErrorType
		field  string
		want   string // in the detail
	}{
		{"empty body", sent{path: one, header: map[string]string{"Content-Type": "application/json"}}, 400, api.ValidationError, "", "empty"},
		{"no JSON", sent{path: one, body: "data=1"}, 400, api.ValidationError, "", "JSON object"},
		{"cut short", sent{path: one, body: `{"data":{"f0":1`}, 400, api.ValidationError, "", "malformed JSON at byte 15"},
		{"trailing text", sent{path: one, body: with("") + "x"}, 400, api.ValidationError, "", "malformed JSON"},
		{"NaN", sent{path: one, body: `{"model_id":"pima","data":{"f0":NaN}}`}, 422, api.RowError, "f0", "send null"},
		{"Infinity", sent{path: one, body: `{"model_id":"pima","data":[1,-Infinity]}`}, 422, api.RowError, "f1", "send null"},
		{"NaN elsewhere", sent{path: one, body: `{"model_id":"pima","data":{"f0":[NaN]}}`}, 400, api.ValidationError, "", "malformed JSON"},
		{"an array", sent{path: one, body: `[1]`}, 400, api.ValidationError, "", "JSON object"},
		{"too deep", sent{path: one, body: `{"data":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`}, 400, api.ValidationError, "", "nested"},
		{"no data", sent{path: one, body: `{"model_id":"pima"}`}, 400, api.ValidationError, "data", "is missing"},
		{"empty data", sent{path: one, body: `{"model_id":"pima","data":{}}`}, 400, api.ValidationError, "data", "is empty"},
		{"empty array", sent{path: one, body: `{"model_id":"pima","data":[]}`}, 400, api.ValidationError, "data", "is empty"},
		{"data is text", sent{path: one, body: `{"model_id":"pima","data":"x"}`}, 400, api.ValidationError, "data", "object of features"},
		{"unknown member", sent{path: one, body: with(`,"retrun_confidence":true`)}, 400, api.ValidationError, "retrun_confidence", `did you mean "return_confidence"`},
		{"batch_size of one row", sent{path: one, body: with(`,"batch_size":1`)}, 400, api.ValidationError, "batch_size", "not known"},
		{"member twice", sent{path: one, body: with(`,"model_id":"pima"`)}, 400, api.ValidationError, "model_id", "twice"},
		{"model_id is a number", sent{path: one, body: `{"model_id":1,"data":{}}`}, 400, api.ValidationError, "model_id", "must be a string"},
		{"bad model_id", sent{path: one, body: `{"model_id":"a/b","data":{}}`}, 400, api.ValidationError, "model_id", "letters, digits"},
		{"bad version", sent{path: one, body: with(`,"version":"1 0"`)}, 400, api.ValidationError, "version", "semantic version"},
		{"confidence is text", sent{path: one, body: with(`,"return_confidence":"yes"`)}, 400, api.ValidationError, "return_confidence", "true or false"},
		{"explanation is a number", sent{path: one, body: with(`,"return_explanation":1`)}, 400, api.ValidationError, "return_explanation", "true or false"},
		{"no model named", sent{path: one, body: `{"data":` + goodRow + `}`}, 400, api.ValidationError, "model_id", "broken, mammo, pima"},
		{"unknown model", sent{path: one, body: `{"model_id":"pimm","data":` + goodRow + `}`}, 404, api.ModelNotFound, "model_id", `did you mean "pima"`},
		{"unknown version", sent{path: one, body: with(`,"version":"9.0.0"`)}, 404, api.VersionNotFound, "version", "1.0.0"},
		{"broken model", sent{path: one, body: `{"model_id":"broken","data":` + goodRow + `}`}, 503, api.ModelUnavailable, "", "digest"},
		{"unknown feature", sent{path: one, body: `{"model_id":"pima","data":{"f00":1}}`}, 422, api.RowError, "f00", "did you mean"},
		{"missing feature", sent{path: one, body: `{"model_id":"pima","data":{"f0":1}}`}, 422, api.RowError, "f1", "is missing"},
		{"text for a number", sent{path: one, body: `{"model_id":"pima","data":{"f0":"8"}}`}, 422, api.RowError, "f0", "without quotes"},
		{"too few values", sent{path: one, body: `{"model_id":"pima","data":[1,2]}`}, 422, api.RowError, "", "has 2 values"},
		{"overflow", sent{path: one, body: `{"model_id":"pima","data":[1e39,1,1,1,1,1,1,1]}`}, 422, api.RowError, "f0", "too large for float32"},

		{"batch data is an object", sent{path: many, body: `{"model_id":"pima","data":{}}`}, 400, api.ValidationError, "data", "array of rows"},
		{"empty batch", sent{path: many, body: `{"model_id":"pima","data":[]}`}, 400, api.ValidationError, "data", "at least one row"},
		{"batch_size 0", sent{path: many, body: `{"model_id":"pima","data":[[1]],"batch_size":0}`}, 400, api.ValidationError, "batch_size", "1 to 10000"},
		{"batch_size 10001", sent{path: many, body: `{"model_id":"pima","data":[[1]],"batch_size":10001}`}, 400, api.ValidationError, "batch_size", "1 to 10000"},
		{"batch_size 1.5", sent{path: many, body: `{"model_id":"pima","data":[[1]],"batch_size":1.5}`}, 400, api.ValidationError, "batch_size", "whole number"},
		{"batch_size is text", sent{path: many, body: `{"model_id":"pima","data":[[1]],"batch_size":"5"}`}, 400, api.ValidationError, "batch_size", "whole number"},
		{"malformed row", sent{path: many, body: `{"model_id":"pima","data":[[1],[2,]]}`}, 400, api.ValidationError, "", "malformed JSON"},
		{"too many rows", sent{path: many, body: `{"model_id":"pima","data":[` + strings.Repeat("[1],", 20) + `[1]]}`}, 413, api.PayloadTooLarge, "data", "more than 20 rows"},
		{"too many bytes", sent{path: many, body: `{"data":[` + strings.Repeat(" ", 70<<10) + `]}`}, 413, api.PayloadTooLarge, "", "bytes"},
		{"not JSON", sent{path: one, body: "a,b", header: map[string]string{"Content-Type": "text/csv"}}, 415, api.UnsupportedMediaType, "Content-Type", "application/json"},
		{"another coding", sent{path: many, body: "x", header: map[string]string{"Content-Encoding": "br"}}, 415, api.UnsupportedMediaType, "Content-Encoding", "gzip"},
		{"not compressed", sent{path: many, body: `{"data":[[1]]}`, header: map[string]string{"Content-Encoding": "gzip"}}, 400, api.ValidationError, "Content-Encoding", "is not what"},
		{"compressed in silence", sent{path: many, body: coded(t, "gzip", `{"data":[[1]]}`)}, 400, api.ValidationError, "Content-Encoding", "Content-Encoding: gzip"},
		{"zstd in silence", sent{path: many, body: coded(t, "zstd", `{"data":[[1]]}`)}, 400, api.ValidationError, "Content-Encoding", "Content-Encoding: zstd"},
		{"large headers", sent{path: one, body: with(""), header: map[string]string{"X-Large": strings.Repeat("x", 20<<10)}}, 431, api.HeadersTooLarge, "", "headers"},

		{"unknown path", sent{method: "GET", path: "/api/v2/predict"}, 404, api.NotFound, "", "openapi.json"},
		{"wrong method", sent{method: "GET", path: one}, 405, api.MethodNotAllowed, "", "GET is not allowed"},
		{"unknown method", sent{method: "BREW", path: one}, 405, api.MethodNotAllowed, "", "not allowed"},
		{"no WebSocket", sent{method: "GET", path: "/api/v1/predict/stream"}, 400, api.ValidationError, "Upgrade", "WebSocket"},
		{"model of the path", sent{method: "GET", path: "/api/v1/models/none"}, 404, api.ModelNotFound, "model_id", "none"},
		{"bad model of the path", sent{method: "GET", path: "/api/v1/models/a.b"}, 400, api.ValidationError, "model_id", "letters"},
		{"stats of no version", sent{method: "GET", path: "/api/v1/models/pima/stats?version=7.0.0"}, 404, api.VersionNotFound, "version", "7.0.0"},
		{"empty version", sent{method: "GET", path: "/api/v1/models/pima/stats?version="}, 400, api.ValidationError, "version", "semantic"},
		{"load of a broken model", sent{path: "/api/v1/models/broken/load"}, 503, api.ModelUnavailable, "", "digest"},
		{"load of no model", sent{path: "/api/v1/models/none/load"}, 404, api.ModelNotFound, "model_id", "none"},
		{"learning of a stateless model", sent{path: "/api/v1/models/pima/learn", body: `{"data":[` + goodRow + `]}`}, 409, api.Conflict, "", "does not learn"},
		{"learning of a bad row", sent{path: "/api/v1/models/pima/learn", body: `{"data":[[1]]}`}, 422, api.RowError, "", "has 1 values"},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, body := do(t, h, c.sent)
			var p api.Problem
			if err := json.Unmarshal(body, &p); err != nil {
				t.Fatalf("%v in %s", err, body)
			}
			if resp.StatusCode != c.status || p.Status != c.status || p.ErrorType != c.kind || p.Field != c.field || !strings.Contains(p.Detail, c.want) {
				t.Errorf("status %d, %s, field %q: %s\nwant %d, %s, field %q: %q", resp.StatusCode, p.ErrorType, p.Field, p.Detail, c.status, c.kind, c.field, c.want)
			}
			if p.RequestID == "" || resp.Header.Get("X-Request-Id") != p.RequestID {
				t.Errorf("request id %q, in the header %q", p.RequestID, resp.Header.Get("X-Request-Id"))
			}
			if got := resp.Header.Get("Content-Type"); got != api.ProblemContentType {
				t.Errorf("Content-Type %q", got)
			}
		})
	}
	// None of this has harmed the host.
	var p api.Prediction
	post(t, h.URL+"/api/v1/predict", []byte(`{"data":`+goodRow+`,"model_id":"pima"}`), 200, &p)
	testkit.Eventually(t, "no leases are left", func() bool { _, leases := h.Registry.Counts(); return leases == 0 })
}

// TestOrderOfMembers checks that the model may be named before or after the rows.
func TestOrderOfMembers(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t)})
	var want float64
	padding := strings.Repeat(" ", 300) // beyond what is looked at for hints
	for i, body := range []string{
		`{"model_id":"pima","version":"1.0.0","data":` + goodRow + `}`,
		`{"data":` + goodRow + `,"model_id":"pima","version":"1.0.0"}`,
		`{"version":"1.0.0","data":` + goodRow + `,"model_id":"pima"}`,
		`{"data":` + goodRow + `,"model_id":"pima",` + padding + `"version":"1.0.0"}`,
		`{"data":` + goodRow + padding + `,"version":"1.0.0","model_id":"pima","return_confidence":true}` + padding,
		`{"data":` + goodRow + `,"model_id":"\u0070ima","version":null}`,
		`{"return_confidence":false,"data":[8,155,62,26,495,34,0.543,46],"model_id":"pima"}`,
	} {
		var p api.Prediction
		post(t, h.URL+"/api/v1/predict", []byte(body), 200, &p)
		if i == 0 {
			want = p.Score
		}
		if p.Score != want || p.ModelID != "pima" || p.ModelVersion != "1.0.0" {
			t.Errorf("body %d: %s %s scored %v, want %v", i, p.ModelID, p.ModelVersion, p.Score, want)
		}
		if i == 6 && (p.Confidence != nil || p.ConfidenceReason != "") {
			t.Errorf("confidence %v was not asked for", *p.Confidence)
		}
	}
}

// TestBatchOfGoodAndBadRows checks that failed rows have an error in their place.
func TestBatchOfGoodAndBadRows(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t)})
	good := `[8,155,62,26,495,34,0.543,46]`
	body := `{"model_id":"pima","batch_size":2,"data":[` + good + `,[1,NaN],` + goodRow + `,{"f0":NaN,"f1":-Infinity},5,` + good + `]}`
	var b api.BatchResponse
	post(t, h.URL+"/api/v1/predict/batch", []byte(body), 200, &b)
	if b.TotalProcessed != 6 || b.TotalFailed != 3 || len(b.Predictions) != 6 || b.RequestID == "" || b.ThroughputPerSecond <= 0 {
		t.Fatalf("%+v", b)
	}
	for i, p := range b.Predictions {
		if failed := i == 1 || i == 3 || i == 4; failed != (p.Error != nil) {
			t.Errorf("row %d: %+v", i, p)
		} else if failed && (!strings.HasPrefix(p.Error.Detail, fmt.Sprintf("row %d: ", i)) || p.Error.ErrorType != api.RowError) {
			t.Errorf("row %d: %+v", i, p.Error)
		} else if !failed && (p.Score != b.Predictions[0].Score || p.ModelID != "pima" || p.Threshold == nil || p.Confidence == nil || !p.Calibrated) {
			t.Errorf("row %d: %+v", i, p)
		}
	}
	post(t, h.URL+"/api/v1/predict/batch", []byte(`{"model_id":"pima","data":[[],{}]}`), 200, &b)
	if b.TotalFailed != 2 || b.TotalProcessed != 2 || b.TotalAnomalies != 0 {
		t.Errorf("all rows failed: %+v", b)
	}
}

// TestProblemsOfTheRuntime checks the types of errors that only some models have.
func TestProblemsOfTheRuntime(t *testing.T) {
	for _, c := range []struct {
		err    error
		kind   api.ErrorType
		status int
	}{
		{fmt.Errorf("x: %w", batching.ErrOverloaded), api.Overloaded, 503},
		{registry.ErrShuttingDown, api.ShuttingDown, 503},
		{&model.UnavailableError{ID: "m", Reason: "r"}, api.ModelUnavailable, 503},
		{fmt.Errorf("%w: %w", batching.ErrLate, context.DeadlineExceeded), api.DeadlineExceeded, 504},
		{fmt.Errorf("%w: %w", batching.ErrScoring, errors.New("boom")), api.ScoringError, 500},
		{model.ErrNotLearning, api.Conflict, 409},
		{errors.New("anything else"), api.InternalError, 500},
	} {
		if p := rest.AsProblem(c.err); p.ErrorType != c.kind || p.Status != c.status || p.Detail == "" {
			t.Errorf("%v: %+v", c.err, p)
		}
	}
}

// TestManagementIsLocal checks an open address without configured credentials:
// callers on this machine that no proxy forwarded may do everything, and others
// nothing.
func TestManagementIsLocal(t *testing.T) {
	open := testkit.Serve(t, testkit.Options{Dir: twoModels(t), REST: func(c *rest.Config) { c.Loopback, c.Gate = false, gateOf(t, access.RunKey, nil) }})
	insecure := testkit.Serve(t, testkit.Options{Dir: twoModels(t), REST: func(c *rest.Config) { c.Loopback, c.Gate = false, gateOf(t, access.Off, nil) }})
	load := sent{path: "/api/v1/models/pima/load"}
	forwarded := load
	forwarded.header = map[string]string{"X-Forwarded-For": "10.0.0.1"}
	for i, c := range []struct {
		h *testkit.Host
		sent
		want int
	}{
		{open, load, 200}, {open, forwarded, 401}, {insecure, forwarded, 200},
		{open, sent{method: "DELETE", path: "/api/v1/models/pima/unload", header: map[string]string{"Forwarded": "for=1.2.3.4"}}, 401},
		{open, sent{path: "/api/v1/models/pima/learn", body: `{"data":[]}`, header: map[string]string{"Via": "1.1 proxy"}}, 401},
		{open, sent{path: "/api/v1/predict", body: `{"model_id":"pima","data":` + goodRow + `}`, header: map[string]string{"X-Forwarded-For": "10.0.0.1"}}, 401},
		{open, sent{path: "/api/v1/predict", body: `{"model_id":"pima","data":` + goodRow + `}`, header: map[string]string{"X-Forwarded-For": "10.0.0.1", "X-API-Key": "admin:*"}}, 200},
	} {
		if resp, body := do(t, c.h, c.sent); resp.StatusCode != c.want {
			t.Errorf("%d: status %d, want %d: %s", i, resp.StatusCode, c.want, body)
		}
	}
}

// FuzzPredict checks for any body that the answer matches the description, that no
// lease remains, and that the next request is served.
func FuzzPredict(f *testing.F) {
	for _, seed := range []string{
		`{"model_id":"pima","data":` + goodRow + `}`, `{"data":[[1,2,3]],"model_id":"pima","batch_size":3}`, `{"data":{"f0":1},"model_id":"pima","version":"latest"}`,
		`{"model_id":"mammo","data":[1,2,3,4,5,6],"return_explanation":true}`, `{"model_id":"pima","data":[[8,155,62,26,495,34,0.543,46],null,{}]}`,
		`{"version":"1.1.0-rc.1","data":{"f0":1e309},"model_id":"pima"}`, `{`, `{"data":`, "\xff", `{"id":1}`, `{"data":[],"data":[]}`,
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	h := testkit.Serve(f, testkit.Options{Dir: twoModels(f), REST: func(c *rest.Config) { c.BodyLimit = 1 << 20 }})
	f.Fuzz(func(t *testing.T, body []byte, many bool) {
		path := "/api/v1/predict"
		if many {
			path += "/batch"
		}
		resp, answer := do(t, h, sent{path: path, body: string(body), header: map[string]string{"Content-Type": "application/json"}})
		if resp.StatusCode >= 500 && resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("status %d: %s", resp.StatusCode, answer)
		}
		testkit.Eventually(t, "no leases", func() bool { _, n := h.Registry.Counts(); return n == 0 })
	})
}

// TestRawBytes checks that the connection ends and the host continues, whatever a
// client sends instead of HTTP.
func TestRawBytes(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t)})
	for _, text := range []string{
		"\x00\x01\x02\x03\r\n\r\n", "GET\r\n\r\n", "POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
		"POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{", strings.Repeat("A", 100<<10),
		"GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00",
	} {
		c, err := net.Dial("tcp", strings.TrimPrefix(h.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Minute))
		_, _ = io.WriteString(c, text)
		_ = c.(*net.TCPConn).CloseWrite()
		answer, err := io.ReadAll(c)
		_ = c.Close()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%.40q: the connection hangs", text)
		}
		if len(answer) > 0 && !bytes.HasPrefix(answer, []byte("HTTP/1.1 4")) {
			t.Errorf("%.40q: %.100s", text, answer)
		}
	}
	var p api.Prediction
	post(t, h.URL+"/api/v1/predict", []byte(`{"data":`+goodRow+`,"model_id":"pima"}`), 200, &p)
}
