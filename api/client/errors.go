package client

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pynomaly/pynomaly-runtime/api"
)

// StatusError is an answer that does not come from a host, such as that of a proxy
// before it.
type StatusError struct {
	Status     int
	Text       string        // beginning of the body, on one line
	RetryAfter time.Duration // 0: the answer does not say
}

// Error implements error.
func (e *StatusError) Error() string {
	status := strings.TrimSpace(strconv.Itoa(e.Status) + " " + http.StatusText(e.Status))
	if e.Text == "" {
		return "the answer is " + status
	}
	return fmt.Sprintf("the answer is %s: %s", status, e.Text)
}

// failure returns the error of an answer: an *api.Problem if the host has sent one.
func failure(status int, header http.Header, body []byte) error {
	after := retryAfter(header.Get("Retry-After"), time.Now)
	var p api.Problem
	if json.Unmarshal(body, &p) == nil && p.ErrorType != "" {
		p.Status, p.RetryAfter = status, after
		return &p
	}
	return &StatusError{Status: status, Text: line(body), RetryAfter: after}
}

// retryAfter parses the header Retry-After: seconds, or a time.
func retryAfter(text string, now func() time.Time) time.Duration {
	const most = 24 * time.Hour
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		return min(time.Duration(n)*time.Second, most)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(0, at.Sub(now())), most)
	}
	return 0
}

// line returns the beginning of another party's text, safe for an error.
func line(body []byte) string {
	const most = 200
	text := strings.ToValidUTF8(string(body[:min(len(body), most)]), "\uFFFD")
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
	if text = strings.TrimSpace(text); len(body) > most {
		text += "..."
	}
	return text
}
