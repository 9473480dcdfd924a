// Package admin serves operators on a separate address: profiles of the running host
// and its configuration. The address that serves models has none of this.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/api/access/gate"
	"github.com/pynomaly/pynomaly-runtime/api/access/limits"
)

// Config configures a Server.
type Config struct {
	Gate     *gate.Gate
	Loopback bool       // only this machine reaches the listener
	Show     func() any // the configuration without its secrets, for JSON
	Log      *slog.Logger
}

// Server answers operators.
type Server struct {
	cfg  Config
	http http.Server
}

// adminPath is the path that the gate is asked about. No path of this server is
// public.
const adminPath = "admin"

// Bounds of a request. A profile takes as long as the caller asks for.
const (
	headerTime  = 10 * time.Second
	idleTime    = time.Minute
	headerBytes = 16 << 10
)

// New returns a Server.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /config", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		_ = enc.Encode(cfg.Show()) // the client may have left
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	s.http = http.Server{
		Handler: s.admitted(mux), ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: headerBytes,
		ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	return s
}

// Serve answers on a listener until Shutdown.
func (s *Server) Serve(ln net.Listener) error {
	if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err //nolint:wrapcheck // it says all
	}
	return nil
}

// Shutdown ends the server at once, because nobody needs to wait for a profile.
func (s *Server) Shutdown(context.Context) error {
	return s.http.Close() //nolint:wrapcheck // it says all
}

// admitted lets admins pass.
func (s *Server) admitted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if err := s.admit(r); err != nil {
			refuse(w, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) admit(r *http.Request) error {
	if s.cfg.Loopback && !ownName(r.Host) { // a page whose host name resolves to this host
		return api.NewProblem(api.Forbidden, "Host", "this is not a name of this host: use its address or localhost")
	}
	shown, peer := credentials(r)
	from := gate.Caller{Address: s.cfg.Gate.Client(peer, r.Header.Values("X-Forwarded-For")...)}
	p, err := s.cfg.Gate.Enter(r.Context(), shown, adminPath)
	if err != nil {
		return s.cfg.Gate.Refuse(err, shown.Any(), access.Admin, from)
	}
	if err := access.Decide(p, access.Admin, ""); err != nil {
		return s.cfg.Gate.Deny(err, p, access.Admin, "", from)
	}
	e := s.cfg.Gate.Entry(p, access.Admin, "", from)
	if err := s.cfg.Gate.Audit().Begin(e); err != nil {
		return err
	}
	e.Outcome = "ok: " + r.URL.Path
	_ = s.cfg.Gate.Audit().Write(e)
	return nil
}

func credentials(r *http.Request) (*access.Credentials, netip.Addr) {
	shown := &access.Credentials{}
	for _, v := range r.Header.Values("X-Api-Key") {
		shown.Key([]byte(v))
	}
	for _, v := range r.Header.Values("Authorization") {
		shown.Authorization([]byte(v))
	}
	peer, _ := netip.ParseAddrPort(r.RemoteAddr)
	forwarded := false
	for _, name := range []string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "X-Forwarded-Host", "X-Forwarded-Proto", "Via"} {
		forwarded = forwarded || r.Header.Get(name) != ""
	}
	shown.Local = access.IsLocal(peer.Addr(), forwarded) && ownName(r.Host)
	return shown, peer.Addr()
}

// ownName reports whether a Host header is an address or localhost.
func ownName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	_, err := netip.ParseAddr(host)
	return err == nil || strings.EqualFold(host, "localhost")
}

// refuse answers with a problem.
func refuse(w http.ResponseWriter, err error) {
	p := api.NewProblem(api.Overloaded, "", "operators' actions must be audited, and the audit cannot be written now")
	var problem *api.Problem
	var refusal *access.Error
	var limited *limits.Refusal
	switch {
	case errors.As(err, &problem):
		p = problem
	case errors.As(err, &limited):
		p = api.NewProblem(api.RateLimited, "", "there were too many wrong credentials: wait for as long as Retry-After says")
		w.Header().Set("Retry-After", strconv.Itoa(limited.RetryAfter()))
	case errors.Is(err, access.ErrUnauthenticated) && errors.As(err, &refusal):
		p = api.NewProblem(api.Unauthorized, "", "%s", refusal.Public)
		w.Header().Set("WWW-Authenticate", `Bearer realm="pynomaly-runtime"`)
	case errors.As(err, &refusal):
		p = api.NewProblem(api.Forbidden, "", "%s", refusal.Public)
	}
	w.Header().Set("Content-Type", api.ProblemContentType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}
