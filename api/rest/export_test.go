package rest

import (
	"io"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/pynomaly/pynomaly-runtime/api"
)

// AsProblem is asProblem with the whole text.
func AsProblem(err error) *api.Problem { return asProblem(err, whole) }

// Accounts reads bodies like a server, on one account.
type Accounts struct {
	server  Server
	account account
}

// NewAccounts returns Accounts with a bound for all bytes and one for each body.
func NewAccounts(most int64, body int) *Accounts {
	a := &Accounts{}
	a.server.budget.most, a.server.cfg.BodyLimit = most, body
	return a
}

// Read reads a body, returns its buffer, and returns how many bytes the buffer held.
func (a *Accounts) Read(from io.Reader) (held int, err error) {
	body := a.server.buffers.get(firstBytes)
	err = a.server.readAll(&a.account, body, from, -1)
	held = cap(body.b)
	a.server.buffers.put(body)
	return held, err
}

// ReadZstd reads a body in zstd, and returns the most bytes that were counted at a time,
// and those that are afterwards.
func (a *Accounts) ReadZstd(from io.Reader) (most, after int64, err error) {
	body := a.server.buffers.get(firstBytes)
	err = a.server.readCoded(&a.account, body, from, -1, zstandard)
	return a.server.budget.peak.Load(), a.Used(), err
}

// Settle returns what was read.
func (a *Accounts) Settle() { a.server.settle(&a.account) }

// Used returns how many bytes are counted.
func (a *Accounts) Used() int64 { return a.server.budget.used.Load() }

// Hurry does to open connections what a stop does once the listener is closed.
func (s *Server) Hurry() {
	l := s.conns.Load()
	l.closing.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		c.hurry()
	}
}

// Serves reports whether Serve has begun.
func (s *Server) Serves() bool { return s.conns.Load() != nil }

// Answering returns how many connections have a request that is being answered.
func (s *Server) Answering() int {
	l := s.conns.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for c := range l.open {
		if c.state.Load() == connActive {
			n++
		}
	}
	return n
}

// Registered returns the routes that the router has, in the form of the table.
func (s *Server) Registered() []string {
	var out []string
	for _, r := range s.app.GetRoutes(true) {
		if r.Method != fiber.MethodHead { // which comes with GET
			out = append(out, r.Method+" "+strings.ReplaceAll(r.Path, ":id", "{model_id}"))
		}
	}
	return out
}

// Smuggle registers a route that is not in the table.
func (s *Server) Smuggle(method, path string) {
	s.app.Add(method, path, func(c *fiber.Ctx) error { return c.SendStatus(fiber.StatusOK) })
}

// Check returns what is wrong with an entry of the table.
func (s *Server) Check(r Route) error { return s.check(&route{Route: r}) }

// IsOwn reports whether a Host header names a host that has further names.
func IsOwn(host string, names ...string) bool {
	s := Server{cfg: Config{Hosts: names}}
	return s.isOwn([]byte(host))
}
