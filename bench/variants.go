package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The names of the hosts of -with.
const (
	hostKey    = "host (key)"
	hostTraces = "host (1 % traced)"
)

// startVariants starts the hosts of -with. The returned function ends them.
func startVariants(ctx context.Context, o options, state string) (all []contender, end func(), err error) {
	var ends []func()
	end = func() {
		for _, f := range slices.Backward(ends) {
			f()
		}
	}
	defer func() {
		if err != nil {
			end()
		}
	}()
	models := filepath.Join(o.testdata, "bench", "models")
	for _, what := range strings.FieldsFunc(o.with, func(r rune) bool { return r == ',' }) {
		var name, key string
		var flags []string
		switch what {
		case "key":
			name = hostKey
			file := filepath.Join(state, "keys.yaml")
			if key, err = makeKey(ctx, o, file); err != nil {
				return nil, nil, err
			}
			flags = []string{"--auth-keys", file}
		case "traces":
			name = hostTraces
			address, stop, err := collect(ctx)
			if err != nil {
				return nil, nil, err
			}
			ends = append(ends, stop)
			flags = []string{"--trace-endpoint", "http://" + address, "--trace-protocol", "http/protobuf", "--trace-ratio", "0.01"}
		default:
			return nil, nil, fmt.Errorf("-with: there is no %q: use key or traces", what)
		}
		p, err := startHost(ctx, o, models, filepath.Join(state, what), flags...)
		if err != nil {
			return nil, nil, err
		}
		p.key = key
		ends = append(ends, func() { _ = p.stop() })
		all = append(all, contender{name, p, true})
	}
	return all, end, nil
}

// makeKey makes a viewer's key in a file.
func makeKey(ctx context.Context, o options, file string) (string, error) {
	out, err := exec.CommandContext(ctx, o.binary, "key", "create", "--role", "viewer", "--file", file).Output()
	if err != nil {
		return "", fmt.Errorf("making a key: %w", err)
	}
	for _, word := range strings.Fields(string(out)) {
		if strings.HasPrefix(word, "pyn_") {
			return word, nil
		}
	}
	return "", fmt.Errorf("key create printed no key: %.200q", out)
}

// collect takes spans and drops them.
func collect(ctx context.Context) (address string, stop func(), err error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("listening for spans: %w", err)
	}
	s := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/x-protobuf")
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(ln) }()
	return ln.Addr().String(), func() { _ = s.Close(); <-done }, nil
}
