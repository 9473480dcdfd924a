package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// sample is the result of measuring one server once.
type sample struct {
	requests int
	elapsed  time.Duration
	cpu      time.Duration // processor time of the server
	p50, p99 time.Duration
}

func (s sample) rate() float64 { return float64(s.requests) / s.elapsed.Seconds() }

func (s sample) cpuMicros() float64 { return s.cpu.Seconds() * 1e6 / float64(s.requests) }

// answerTimeout is how long after a measurement its last answers may come.
const answerTimeout = 30 * time.Second

// connection is a connection that is kept open.
type connection struct {
	net.Conn
	reader *bufio.Reader
	answer fasthttp.Response
}

func dial(ctx context.Context, addr string) (*connection, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	return &connection{Conn: c, reader: bufio.NewReaderSize(c, 64<<10)}, nil
}

// dialUntil is dial for a connection that fails after a deadline.
func dialUntil(ctx context.Context, addr string, deadline time.Time) (*connection, error) {
	c, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(deadline); err != nil {
		return nil, errors.Join(fmt.Errorf("setting a deadline: %w", err), c.Close())
	}
	return c, nil
}

// message returns a complete POST request.
func message(addr, path, key string, body []byte) []byte {
	if key != "" {
		key = "X-API-Key: " + key + "\r\n"
	}
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\n%sContent-Type: %s\r\nContent-Length: %d\r\n\r\n", path, addr, key, contentTypeOwn, len(body))
	return append([]byte(head), body...)
}

// send sends the request and reads the response. The returned body is valid until
// the next call.
func (c *connection) send(request []byte) ([]byte, error) {
	if _, err := c.Write(request); err != nil {
		return nil, fmt.Errorf("sending: %w", err)
	}
	if err := c.answer.Read(c.reader); err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if code := c.answer.StatusCode(); code != fasthttp.StatusOK {
		return nil, fmt.Errorf("status %d: %.300s", code, c.answer.Body())
	}
	return c.answer.Body(), nil
}

// measure sends the same request in a closed loop over several connections. After a
// warm-up it reads the clocks while all connections are busy.
func measure(ctx context.Context, p *process, path string, body []byte, conns int, warm, duration time.Duration) (sample, error) {
	request := message(p.addr, path, p.key, body)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	var failed error
	fail := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if failed == nil {
			failed = err
		}
	}
	from := time.Now().Add(warm)
	until := from.Add(duration)
	for range conns {
		wg.Go(func() {
			c, err := dialUntil(ctx, p.addr, until.Add(answerTimeout))
			if err != nil {
				fail(err)
				return
			}
			defer c.Close()
			own := make([]time.Duration, 0, 1<<14)
			for begin := time.Now(); begin.Before(until); {
				if _, err := c.send(request); err != nil {
					fail(err)
					return
				}
				end := time.Now()
				if end.After(from) && end.Before(until) {
					own = append(own, end.Sub(begin))
				}
				begin = end
			}
			mu.Lock()
			took = append(took, own...)
			mu.Unlock()
		})
	}
	time.Sleep(time.Until(from))
	before, err1 := p.cpu()
	started := time.Now()
	time.Sleep(time.Until(until))
	after, err2 := p.cpu()
	elapsed := time.Since(started)
	wg.Wait()
	for _, err := range []error{failed, err1, err2} {
		if err != nil {
			return sample{}, err
		}
	}
	if len(took) == 0 {
		return sample{}, fmt.Errorf("%s answered nothing in %v", path, duration)
	}
	slices.Sort(took)
	return sample{
		requests: len(took), elapsed: elapsed, cpu: after - before,
		p50: took[len(took)/2], p99: took[len(took)*99/100],
	}, nil
}
