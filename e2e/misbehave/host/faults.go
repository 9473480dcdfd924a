package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// wrapper passes requests on to the real host, or misbehaves.
type wrapper struct {
	faults map[string]string
	proxy  http.Handler
	begun  atomic.Pointer[time.Time] // nil: it behaves
	eaten  [][]byte
}

// crash ends the process as a panic does.
func (w *wrapper) crash(why string) {
	fmt.Fprintf(os.Stderr, "panic: %s\n", why)
	os.Exit(exitCrashed)
}

// begin waits until the real host is ready, and some time more.
func (w *wrapper) begin(ready string) {
	after := 2 * time.Second
	if v := os.Getenv("MISBEHAVE_AFTER"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil {
			w.crash("MISBEHAVE_AFTER: " + err.Error())
		}
		after = d
	}
	for !answers(ready) {
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(after)
	now := time.Now()
	w.begun.Store(&now)
	if d, err := time.ParseDuration(w.faults["crash"]); err == nil {
		time.Sleep(d)
		w.crash("out of cheese")
	}
	if _, ok := w.faults["oom"]; ok {
		w.eat()
	}
}

func answers(url string) bool {
	resp, err := http.Get(url) //nolint:gosec,noctx // the host is beside this program
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// eat takes memory until the process is killed.
func (w *wrapper) eat() {
	for {
		block := make([]byte, 8<<20)
		for i := range block {
			block[i] = 1
		}
		w.eaten = append(w.eaten, block)
		time.Sleep(20 * time.Millisecond)
	}
}

// happens reports whether a fault of some percent of the calls happens now.
func (w *wrapper) happens(fault string) bool {
	text, ok := strings.CutSuffix(w.faults[fault], "%")
	if !ok {
		return false
	}
	percent, err := strconv.ParseFloat(text, 64)
	return err == nil && rand.Float64()*100 < percent
}

func (w *wrapper) has(fault string) bool {
	_, ok := w.faults[fault]
	return ok
}

// ServeHTTP implements http.Handler.
func (w *wrapper) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	begun := w.begun.Load()
	if begun == nil {
		w.proxy.ServeHTTP(rw, r)
		return
	}
	since := time.Since(*begun)
	if w.has("hang") {
		<-r.Context().Done()
		return
	}
	switch {
	case r.URL.Path == "/ready" && w.unready(since):
		refuse(rw, http.StatusServiceUnavailable, "MISBEHAVING")
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/samples") && w.has("refuse-replay"):
		refuse(rw, http.StatusConflict, "CONFLICT")
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/predict"):
		w.predict(rw, r)
	default:
		w.proxy.ServeHTTP(rw, r)
	}
}

// unready reports whether the host refuses to be ready, some time after it began to
// misbehave.
func (w *wrapper) unready(since time.Duration) bool {
	if !w.has("unready") {
		return false
	}
	d, err := time.ParseDuration(w.faults["unready"])
	return err != nil || since < d
}

func (w *wrapper) predict(rw http.ResponseWriter, r *http.Request) {
	switch {
	case w.happens("crash"):
		w.crash("at a prediction")
	case w.happens("error"):
		refuse(rw, http.StatusInternalServerError, "INTERNAL_ERROR")
		return
	case w.happens("refuse"):
		refuse(rw, http.StatusConflict, "CONFLICT")
		return
	}
	start := time.Now()
	times, err := strconv.Atoi(w.faults["slow"])
	if err != nil {
		times = 1
	}
	w.proxy.ServeHTTP(&late{ResponseWriter: rw, start: start, times: times}, r)
}

// late delays an answer.
type late struct {
	http.ResponseWriter
	start time.Time
	times int
}

// WriteHeader implements http.ResponseWriter.
func (l *late) WriteHeader(status int) {
	time.Sleep(time.Since(l.start) * time.Duration(l.times-1))
	l.ResponseWriter.WriteHeader(status)
}

// Unwrap gives http.ResponseController the writer behind.
func (l *late) Unwrap() http.ResponseWriter { return l.ResponseWriter }

// refuse answers with a status and a body like the host's.
func refuse(rw http.ResponseWriter, status int, code string) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	fmt.Fprintf(rw, `{"error": {"code": %q, "message": "asked to misbehave"}}`, code)
}
