package rest_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// coded compresses a text.
func coded(t testing.TB, as, text string) string {
	t.Helper()
	var b bytes.Buffer
	switch as {
	case "zstd":
		w, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		b = *bytes.NewBuffer(w.EncodeAll([]byte(text), nil))
	default:
		w := gzip.NewWriter(&b)
		_, err := w.Write([]byte(text))
		if err != nil || w.Close() != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// TestCodedBodies checks that each route with a body takes gzip and zstd within the
// limits of other bodies, and that what is wrong is said.
func TestCodedBodies(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t), REST: func(c *rest.Config) { c.BodyLimit = 256 << 10 }})
	one, many := `{"model_id":"pima","data":`+goodRow+`}`, `{"model_id":"pima","data":[`+strings.Repeat(goodRow+",", 500)+goodRow+`]}`
	large := one + strings.Repeat(" ", 64<<20)
	for _, c := range []struct {
		name, as, path, body string
		want                 int
		of                   api.ErrorType
	}{
		{"gzip", "gzip", "/api/v1/predict", coded(t, "gzip", one), 200, ""},
		{"another name of it", "X-GZip", "/api/v1/predict", coded(t, "gzip", one), 200, ""},
		{"in two members", "gzip", "/api/v1/predict", coded(t, "gzip", one[:9]) + coded(t, "gzip", one[9:]), 200, ""},
		{"zstd", "zstd", "/api/v1/predict", coded(t, "zstd", one), 200, ""},
		{"a batch in gzip", "gzip", "/api/v1/predict/batch", coded(t, "gzip", many), 200, ""},
		{"a batch in zstd", "zstd", "/api/v1/predict/batch", coded(t, "zstd", many), 200, ""},
		{"as it is", "identity", "/api/v1/predict", one, 200, ""},
		{"a bomb", "gzip", "/api/v1/predict", coded(t, "gzip", large), 413, api.PayloadTooLarge},
		{"a bomb in zstd", "zstd", "/api/v1/predict", coded(t, "zstd", large), 413, api.PayloadTooLarge},
		{"many members of nothing", "gzip", "/api/v1/predict", strings.Repeat(coded(t, "gzip", ""), 20<<10), 413, api.PayloadTooLarge},
		{"cut off", "gzip", "/api/v1/predict", coded(t, "gzip", one)[:40], 400, api.ValidationError},
		{"cut off zstd", "zstd", "/api/v1/predict", coded(t, "zstd", one)[:40], 400, api.ValidationError},
		{"something behind it", "gzip", "/api/v1/predict", coded(t, "gzip", one) + "x", 400, api.ValidationError},
		{"not zstd", "zstd", "/api/v1/predict", one, 400, api.ValidationError},
		{"twice", "gzip, gzip", "/api/v1/predict", coded(t, "gzip", coded(t, "gzip", one)), 415, api.UnsupportedMediaType},
		{"another", "br", "/api/v1/predict", one, 415, api.UnsupportedMediaType},
		{"learning", "gzip", "/api/v1/models/pima/learn", coded(t, "gzip", `{"data":[`+goodRow+`]}`), 409, api.Conflict},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			resp, body := do(t, h, sent{path: c.path, body: c.body, header: map[string]string{"Content-Encoding": c.as}})
			runtime.ReadMemStats(&after)
			var p api.Problem
			_ = json.Unmarshal(body, &p)
			if resp.StatusCode != c.want || p.ErrorType != c.of {
				t.Errorf("status %d: %s", resp.StatusCode, body)
			}
			if c.want == http.StatusUnsupportedMediaType && resp.Header.Get("Accept-Encoding") != "gzip, zstd" {
				t.Errorf("accepted are %q", resp.Header.Get("Accept-Encoding"))
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 32<<20 {
				t.Errorf("it allocated %d MB", grown>>20)
			}
		})
	}
	testkit.Eventually(t, "the bytes come back", func() bool { return held(t, h) == 0 })
}

// TestZstdWindows checks that a host that may hold few bytes reads zstd, and that the
// error for a window that is too large says so.
func TestZstdWindows(t *testing.T) {
	one := `{"model_id":"pima","data":` + goodRow + `}`
	segment := func(size int) string {
		w, err := zstd.NewWriter(nil, zstd.WithWindowSize(16<<20), zstd.WithSingleSegment(true))
		if err != nil {
			t.Fatal(err)
		}
		return string(w.EncodeAll([]byte(one+strings.Repeat(" ", size)), nil))
	}
	for _, c := range []struct {
		name     string
		inflight int64
		body     string
		want     int
		says     string
	}{
		{"few bytes", 4 << 20, coded(t, "zstd", one), 200, ""},
		{"a window of few bytes", 4 << 20, segment(900 << 10), 200, ""},
		{"too large a window of few bytes", 4 << 20, segment(1100 << 10), 400, "a window of more than 1048576 bytes"},
		{"too large a window", 64 << 20, segment(9 << 20), 400, "a window of more than 8388608 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := testkit.Serve(t, testkit.Options{Dir: twoModels(t), REST: func(r *rest.Config) { r.BodyLimit, r.Inflight = 16<<20, c.inflight }})
			resp, body := do(t, h, sent{path: "/api/v1/predict", body: c.body, header: map[string]string{"Content-Encoding": "zstd"}})
			if resp.StatusCode != c.want || !strings.Contains(string(body), c.says) {
				t.Errorf("status %d: %s", resp.StatusCode, body)
			}
			testkit.Eventually(t, "the bytes come back", func() bool { return held(t, h) == 0 })
		})
	}
}

// TestZstdAccount checks that a decoder's window is counted beside the body, and only
// while the body is read.
func TestZstdAccount(t *testing.T) {
	a := rest.NewAccounts(64<<20, 16<<20)
	text := strings.Repeat("x", 1<<20)
	most, after, err := a.ReadZstd(strings.NewReader(coded(t, "zstd", text)))
	if err != nil || most < 9<<20 || after < 1<<20-64<<10 || after > 3<<20 {
		t.Errorf("%d bytes were counted, and %d afterwards, %v", most, after, err)
	}
	if a.Settle(); a.Used() != 0 {
		t.Errorf("%d bytes are counted", a.Used())
	}
	// A sender that stops holds what it has sent.
	a = rest.NewAccounts(64<<20, 16<<20)
	most, _, err = a.ReadZstd(io.MultiReader(strings.NewReader(coded(t, "zstd", text)[:20]), iotest.ErrReader(os.ErrDeadlineExceeded)))
	if !errors.Is(err, os.ErrDeadlineExceeded) || most != 0 {
		t.Errorf("%d bytes were counted for 20, %v", most, err)
	}
}

// TestSlowRequests checks that a request that stops arriving is told so, wherever it
// stops.
func TestSlowRequests(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t), REST: func(c *rest.Config) { c.Receive = 200 * time.Millisecond }})
	const length = 1 << 20
	for name, text := range map[string]string{
		"no body":             head("/api/v1/predict", length),
		"its first bytes":     head("/api/v1/predict", length) + `{"da`,
		"a few of few bytes":  head("/api/v1/predict", 100) + `{"da`,
		"many bytes":          head("/api/v1/predict/batch", length) + strings.Repeat(" ", length/2),
		"of a coded body":     strings.Replace(head("/api/v1/predict", length), "\r\n", "\r\nContent-Encoding: gzip\r\n", 1) + coded(t, "gzip", strings.Repeat(goodRow, 1000))[:100],
		"a part of a chunk":   "POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
		"a part of a header":  "POST /api/v1/predict HTTP/1.1\r\nHost: loc",
		"no part of a header": "POST /api/v1/predict HTTP/1.1\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, h)
			write(t, c, text)
			if resp, p := answerOn(t, c); resp.StatusCode != http.StatusRequestTimeout || p.ErrorType != api.RequestTimeout || !strings.Contains(p.Detail, "200ms") {
				t.Errorf("%d %+v", resp.StatusCode, p)
			}
		})
	}
}
