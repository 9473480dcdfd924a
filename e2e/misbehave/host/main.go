// Command host stands in front of a real host in its container, and misbehaves some
// time after that one is ready. The real host is the program of the variable
// MISBEHAVE_HOST (default /app/plugins/pynomaly-runtime). It listens on another port
// of the loopback interface, and requests are passed on to it.
//
// MISBEHAVE is a list of faults with commas between them:
//
//	crash=8s       the process ends 8 s after it began to misbehave
//	crash=2%       the process ends at 2 % of the predictions
//	error=5%       5 % of the predictions are answered 500
//	refuse=5%      5 % of the predictions are answered 409
//	refuse-replay  replayed rows are answered 409
//	slow=10        answers take 10 times as long
//	oom            memory is taken until the process is killed
//	hang           nothing is answered
//	unready        /ready is answered 503
//	unready=20s    /ready is answered 503 for 20 s
//
// MISBEHAVE_AFTER is the time between being ready and misbehaving (default 2s). Without
// MISBEHAVE, or for another command than serve, the program becomes the real host.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	behind      = "18080"
	exitCrashed = 2 // of a panic in Go
)

func main() {
	program := "/app/plugins/pynomaly-runtime"
	if v := os.Getenv("MISBEHAVE_HOST"); v != "" {
		program = v
	}
	text := os.Getenv("MISBEHAVE")
	if text == "" || len(os.Args) < 2 || os.Args[1] != "serve" {
		err := syscall.Exec(program, append([]string{program}, os.Args[1:]...), os.Environ()) //nolint:gosec // that is its purpose
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code, err := run(program, text)
	if err != nil {
		fmt.Fprintln(os.Stderr, "misbehave:", err)
	}
	os.Exit(code)
}

// run starts the real host and serves until it has ended. It returns its exit code.
func run(program, text string) (int, error) {
	all, err := parse(text)
	if err != nil {
		return 1, err
	}
	args := slices.Clone(os.Args[1:])
	port := slices.Index(args, "--port")
	if port < 0 || port+1 >= len(args) {
		return 1, errors.New("serve needs --port")
	}
	address := ":" + args[port+1]
	args[port+1] = behind
	cmd := exec.CommandContext(context.Background(), program, args...) //nolint:gosec // that is its purpose
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it ends when this process crashes
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("starting the host: %w", err)
	}
	target := &url.URL{Scheme: "http", Host: "127.0.0.1:" + behind}
	w := &wrapper{faults: all, proxy: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host }, FlushInterval: -1,
		ErrorHandler: func(rw http.ResponseWriter, _ *http.Request, _ error) { rw.WriteHeader(http.StatusBadGateway) },
	}}
	server := &http.Server{Addr: address, Handler: w, ReadHeaderTimeout: time.Minute}
	go func() {
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			w.crash(err.Error())
		}
	}()
	go w.begin(target.String() + "/ready")
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		for s := range told {
			_ = cmd.Process.Signal(s)
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 1, fmt.Errorf("waiting for the host: %w", err)
	}
	return cmd.ProcessState.ExitCode(), nil
}

// parse reads the list of faults.
func parse(text string) (map[string]string, error) {
	all := map[string]string{}
	for fault := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(fault), "=")
		if !slices.Contains([]string{"crash", "error", "refuse", "refuse-replay", "slow", "oom", "hang", "unready"}, name) {
			return nil, fmt.Errorf("MISBEHAVE knows no %q", name)
		}
		all[name] = value
	}
	return all, nil
}
