package rest

import (
	"errors"
	"io"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/pynomaly/pynomaly-runtime/api"
)

// budget bounds the bytes of all requests and answers that the server holds: bodies
// as they arrive, and answers of batches.
type budget struct {
	most int64 // 0: no bound
	used atomic.Int64
	peak atomic.Int64 // since it was last read
}

// take counts n more bytes, and reports whether they are within the bound.
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
	freeBytes  = 64 << 10 // bytes of a body, and of an idle connection's buffers, that are not counted
	firstBytes = 8 << 10  // first size of a body's buffer
	answerRow  = 320      // approximate bytes of a row's answer in a batch

	answerContribution = 200 // approximate bytes of a feature's contribution, as text and in memory
)

// buffer holds a body or an answer.
type buffer struct{ b []byte }

// buffers are reused between requests. The pool at index i keeps buffers of 1<<i
// bytes, so that a buffer takes less than twice the memory that was requested and
// charged. The garbage collector empties all pools.
type buffers struct{ pools [poolSizes]sync.Pool }

const (
	poolSizes = 25
	poolBytes = 1 << (poolSizes - 1) // larger buffers are not kept
)

// get returns an empty buffer of at least the capacity, and of less than twice that
// or of firstBytes.
func (p *buffers) get(capacity int) *buffer {
	i := bits.Len(uint(max(capacity, firstBytes) - 1))
	if i >= poolSizes {
		return &buffer{make([]byte, 0, capacity)}
	}
	if b, _ := p.pools[i].Get().(*buffer); b != nil {
		return b
	}
	return &buffer{make([]byte, 0, 1<<i)}
}

// put takes a buffer back, which must not be used any more. b may be nil.
func (p *buffers) put(b *buffer) {
	if b == nil || cap(b.b) < firstBytes || cap(b.b) > poolBytes {
		return
	}
	i := bits.Len(uint(cap(b.b))) - 1
	b.b = b.b[: 0 : 1<<i]
	p.pools[i].Put(b)
}

// account counts what one request takes from the server. Only the goroutine that
// serves the request may use it.
type account struct {
	charged int64   // bytes of the budget
	beside  int64   // of charged: what a decoder of the body holds
	lent    *buffer // buffer of an answer
}

// charge counts bytes of a request or its answer until settle.
func (s *Server) charge(a *account, n int64) error {
	if !s.budget.take(n) {
		return retry(api.NewProblem(api.Overloaded, "", "the host holds as many bytes of requests as it may (server.limits.inflight_bytes, %d): try again later or send fewer rows at once", s.budget.most))
	}
	a.charged += n
	return nil
}

// release returns what a decoder of the body took.
func (s *Server) release(a *account) {
	s.budget.give(a.beside)
	a.charged, a.beside = a.charged-a.beside, 0
}

// settle returns what a request took.
func (s *Server) settle(a *account) {
	if a.charged > 0 {
		s.budget.give(a.charged)
		a.charged, a.beside = 0, 0
	}
	s.buffers.put(a.lent)
	a.lent = nil
}

// accountOf returns the account of a request's connection.
func accountOf(c *fiber.Ctx) *account {
	if own := connOf(c.Context().Conn()); own != nil {
		return &own.account
	}
	return &account{} // the connection is not a conn; nothing is returned
}

// body reads the request's body into a buffer that grows with what arrives, whatever
// length the client announced. The caller returns the buffer with s.buffers.put.
func (s *Server) body(c *fiber.Ctx) (*buffer, error) {
	announced := c.Request().Header.ContentLength()
	if announced > s.cfg.BodyLimit {
		return nil, s.tooLarge()
	}
	stream := c.Context().RequestBodyStream()
	if stream == nil {
		return s.buffers.get(0), nil
	}
	body, account := s.buffers.get(firstBytes), accountOf(c)
	var err error
	if as, _ := parseCoding(c.Request().Header.ContentEncoding()); as == plain {
		err = s.readAll(account, body, stream, announced)
	} else {
		err = s.readCoded(account, body, stream, announced, as)
	}
	received(c.Context().Conn())
	if err == nil {
		return body, nil
	}
	defer s.buffers.put(body)
	s.settle(account) // what the client still sends is not kept
	var problem *api.Problem
	switch {
	case errors.As(err, &problem):
		return nil, problem
	case s.draining.Load():
		return nil, retry(api.NewProblem(api.ShuttingDown, "", "the host stopped before the whole body had arrived: send the request to another one"))
	case isTimeout(err):
		return nil, s.tooSlow()
	}
	return nil, api.NewProblem(api.ValidationError, "", "the body ended after %d bytes: %v", len(body.b), err)
}

// expected answers clients that ask before they send a body (Expect: 100-continue),
// so that they need not send one that is too large.
func (s *Server) expected(ctx *fasthttp.RequestCtx) int {
	if ctx.Request.Header.ContentLength() <= s.cfg.BodyLimit {
		return fasthttp.StatusContinue
	}
	p := s.tooLarge()
	p.RequestID = s.nextID()
	s.count(nil, p.ErrorType)
	s.protect(ctx)
	ctx.Response.Header.Set(fiber.HeaderXRequestID, p.RequestID)
	ctx.Response.Header.SetContentType(api.ProblemContentType)
	ctx.Response.SetBodyRaw(appendProblem(nil, p))
	return p.Status
}

func (s *Server) tooSlow() *api.Problem {
	return api.NewProblem(api.RequestTimeout, "", "the request did not arrive within %v: send it faster, or fewer rows at once", s.cfg.Receive)
}

func (s *Server) tooLarge() *api.Problem {
	return api.NewProblem(api.PayloadTooLarge, "", "the body has more than %d bytes: send fewer rows a request", s.cfg.BodyLimit)
}

// readAll reads a body of the given length, or of any length if it is negative. The
// error is an *api.Problem if the body may not be read, else the reader's error.
func (s *Server) readAll(a *account, to *buffer, from io.Reader, length int) error {
	for {
		if len(to.b) == cap(to.b) {
			if err := s.grow(a, to, length); err != nil {
				return err
			}
		}
		n, err := from.Read(to.b[len(to.b):cap(to.b)])
		to.b = to.b[:len(to.b)+n]
		switch {
		case len(to.b) > s.cfg.BodyLimit:
			return s.tooLarge()
		case errors.Is(err, io.EOF) && len(to.b) < length:
			return io.ErrUnexpectedEOF
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err //nolint:wrapcheck // it is the caller's reader
		}
	}
}

// grow doubles a buffer, up to the body's length and the largest allowed body.
func (s *Server) grow(a *account, to *buffer, length int) error {
	most := s.cfg.BodyLimit + 1
	if length >= 0 {
		most = min(most, length+1)
	}
	want := max(min(2*cap(to.b), most), cap(to.b)+1)
	if more := int64(want-freeBytes) - (a.charged - a.beside); more > 0 {
		if err := s.charge(a, more); err != nil {
			return err
		}
	}
	larger := s.buffers.get(want)
	larger.b = append(larger.b, to.b...)
	to.b, larger.b = larger.b, to.b
	s.buffers.put(larger)
	return nil
}

// lend keeps large answers out of the buffer that fasthttp leaves with an idle
// connection.
func (s *Server) lend(c *fiber.Ctx) {
	resp, a := c.Response(), accountOf(c)
	body := resp.Body()
	if a.lent != nil || len(body) <= freeBytes {
		return
	}
	// A body that was set raw, as by fiber's JSON, is not in a buffer.
	if own := resp.SwapBody(nil); len(own) == len(body) && &own[0] == &body[0] {
		a.lent = &buffer{own}
	}
	resp.SetBodyRaw(body)
}
