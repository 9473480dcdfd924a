package rest

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/gofiber/fiber/v2"

	"github.com/pynomaly/pynomaly-runtime/api"
)

// budget bounds the bytes of all requests and answers together that the server
// holds: bodies as they arrive, and the answers of batches.
type budget struct {
	most int64 // 0: no bound
	used atomic.Int64
	peak atomic.Int64 // since it was last asked for
}

// take reports whether so many bytes more may be held, and counts them.
func (b *budget) take(n int64) bool {
	now := b.used.Add(n)
	if b.most > 0 && now > b.most {
		b.used.Add(-n)
		return false
	}
	for {
		peak := b.peak.Load()
		if now <= peak || b.peak.CompareAndSwap(peak, now) {
			return true
		}
	}
}

func (b *budget) give(n int64) { b.used.Add(-n) }

const (
	freeBytes  = 64 << 10 // of a body that are not counted, and of an idle connection's buffers
	firstBytes = 8 << 10  // what a body's buffer begins with
	answerRow  = 320      // bytes of a row's answer in a batch, about
	poolBytes  = 16 << 20 // larger buffers are not kept for others
)

// buffers are reused between requests. Large ones are kept apart, so that small
// requests do not hold them. The garbage collector empties both.
type buffers struct{ small, large sync.Pool }

// get returns an empty buffer, of at least a capacity.
func (p *buffers) get(capacity int) []byte {
	pool := &p.small
	if capacity > freeBytes {
		pool = &p.large
	}
	if b, _ := pool.Get().(*[]byte); b != nil && cap(*b) >= capacity {
		return (*b)[:0]
	}
	return make([]byte, 0, capacity)
}

func (p *buffers) put(b []byte) {
	switch {
	case cap(b) == 0, cap(b) > poolBytes:
	case cap(b) > freeBytes:
		p.large.Put(&b)
	default:
		p.small.Put(&b)
	}
}

// account is what one request at a time takes of the server.
type account struct {
	charged int64  // bytes of the budget
	lent    []byte // an answer's buffer
}

// charge counts bytes that a request or its answer takes, until settle.
func (s *Server) charge(a *account, n int64) error {
	if !s.budget.take(n) {
		return retry(api.NewProblem(api.Overloaded, "", "the host holds as many bytes of requests as it may (server.limits.inflight_bytes, %d): try again later or send fewer rows at once", s.budget.most))
	}
	a.charged += n
	return nil
}

// settle gives back what a request took.
func (s *Server) settle(a *account) {
	if a.charged > 0 {
		s.budget.give(a.charged)
		a.charged = 0
	}
	if a.lent != nil {
		s.buffers.put(a.lent)
		a.lent = nil
	}
}

// accountOf is the account of a request's connection.
func accountOf(c *fiber.Ctx) *account {
	if own := connOf(c.Context().Conn()); own != nil {
		return &own.account
	}
	return &account{} // of a connection that is none of ours; nothing is given back
}

// body reads the request's body. It grows with what arrives, whatever the client
// has announced. The buffer goes back with s.buffers.put.
func (s *Server) body(c *fiber.Ctx) ([]byte, error) {
	announced := c.Request().Header.ContentLength()
	if announced > s.cfg.BodyLimit {
		return nil, s.tooLarge()
	}
	stream := c.Context().RequestBodyStream()
	if stream == nil {
		return nil, nil
	}
	b, err := s.readAll(accountOf(c), stream, announced)
	if err == nil {
		return b, nil
	}
	s.buffers.put(b)
	var problem *api.Problem
	switch {
	case errors.As(err, &problem):
		return nil, problem
	case s.draining.Load():
		return nil, retry(api.NewProblem(api.ShuttingDown, "", "the host stopped before the whole body had arrived: send the request to another one"))
	case isTimeout(err):
		return nil, api.NewProblem(api.ValidationError, "", "only %d bytes of the body arrived within %v", len(b), readTimeout)
	}
	return nil, api.NewProblem(api.ValidationError, "", "the body ended after %d bytes: %v", len(b), err)
}

func (s *Server) tooLarge() error {
	return api.NewProblem(api.PayloadTooLarge, "", "the body has more than %d bytes: send fewer rows a request", s.cfg.BodyLimit)
}

// readAll reads a body of a length, or of any where that is negative. The error is
// an *api.Problem where the body may not be read, else what the reader said.
func (s *Server) readAll(a *account, from io.Reader, length int) ([]byte, error) {
	b := s.buffers.get(firstBytes)
	for {
		if len(b) == cap(b) {
			var err error
			if b, err = s.grow(a, b, length); err != nil {
				return b, err
			}
		}
		n, err := from.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > s.cfg.BodyLimit:
			return b, s.tooLarge()
		case errors.Is(err, io.EOF) && len(b) < length:
			return b, io.ErrUnexpectedEOF
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			return b, err //nolint:wrapcheck // it is the caller's reader
		}
	}
}

// grow returns a larger buffer with the same bytes: twice as large, but not larger
// than a body of the length, or than any may be.
func (s *Server) grow(a *account, b []byte, length int) ([]byte, error) {
	most := s.cfg.BodyLimit + 1
	if length >= 0 {
		most = min(most, length+1)
	}
	want := max(min(2*cap(b), most), cap(b)+1)
	if more := int64(want-freeBytes) - a.charged; more > 0 {
		if err := s.charge(a, more); err != nil {
			return b, err
		}
	}
	larger := append(s.buffers.get(want), b...)
	s.buffers.put(b)
	return larger, nil
}

// lend keeps large answers out of the buffer that fasthttp leaves with an idle
// connection.
func (s *Server) lend(c *fiber.Ctx) {
	resp, a := c.Response(), accountOf(c)
	if a.lent != nil || len(resp.Body()) <= freeBytes {
		return
	}
	a.lent = resp.SwapBody(nil)
	resp.SetBodyRaw(a.lent)
}
