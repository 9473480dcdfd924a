package client

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pynomaly/pynomaly-runtime/api"
)

func TestRetryAfter(t *testing.T) {
	at := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-1": 0, "soon": 0, "1.5": 0, "4294967295": 24 * time.Hour, "99999999999999": 0,
		"Fri, 27 Nov 2026 12:00:30 GMT": 30 * time.Second, "Fri, 27 Nov 2026 11:00:00 GMT": 0, "Fri, 27 Nov 2099 12:00:00 GMT": 24 * time.Hour,
	} {
		if got := retryAfter(text, func() time.Time { return at }); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// FuzzFailure checks that, for any answer, the error is one of the two kinds, has
// the answer's status, and is safe for a terminal.
func FuzzFailure(f *testing.F) {
	problem, err := json.Marshal(api.NewProblem(api.RowError, "f1", "is missing"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(422, "", problem)
	f.Add(503, "7", []byte(`{"error_type":"Overloaded","status":200}`))
	f.Add(502, "Fri, 27 Nov 2026 12:00:30 GMT", []byte("<html>\x1b[31m\u202e"))
	f.Add(404, "x", []byte(`{"error_type":7}`))
	f.Add(0, "-1", []byte{0xff})
	f.Fuzz(func(t *testing.T, status int, after string, body []byte) {
		got := failure(status, http.Header{"Retry-After": {after}}, body)
		var p *api.Problem
		var other *StatusError
		switch {
		case errors.As(got, &p):
			if p.Status != status || p.ErrorType == "" || p.RetryAfter < 0 {
				t.Errorf("%+v", p)
			}
		case errors.As(got, &other):
			if other.Status != status || other.RetryAfter < 0 {
				t.Errorf("%+v", other)
			}
			if text := got.Error(); !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || len(text) > 1000 {
				t.Errorf("%q", text)
			}
		default:
			t.Errorf("%T", got)
		}
	})
}
