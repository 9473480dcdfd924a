package logs

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// class says how much a line matters while the log cannot be written.
type class int

const (
	predictions class = iota // dropped first
	usual
	important // warnings, errors and the audit log
	classes
)

const (
	bufferBytes = 4 << 20  // most that waits to be written
	blockBytes  = 64 << 10 // written at once
	spareBlocks = 8        // kept for what comes
	patience    = 2        // blocks that may wait while run gets no processor
	flushEvery  = 100 * time.Millisecond
	firstRetry  = 100 * time.Millisecond
	lastRetry   = 5 * time.Second
	reportEvery = 10 * time.Second
)

// room returns how much of the buffer lines of the class may fill.
func (c class) room() int { return bufferBytes / 4 * (int(c) + 2) }

// Buffered takes lines without ever waiting for the writer below it: one goroutine
// writes what has been taken. While the writer fails or stalls, lines stay in a
// buffer of a few megabytes; prediction lines beyond half of it are dropped, others
// beyond three quarters, and warnings, errors and audit lines when it is full.
//
// Prediction lines may wait for 100 ms, so that a line a request costs no system
// call each. All others are written at once, with what waits before them.
type Buffered struct {
	mu      sync.Mutex
	filling []byte   // the block that lines are added to
	full    [][]byte // blocks before it
	waiting int      // bytes of all
	spare   [][]byte
	dropped [classes]uint64

	w      io.Writer
	every  time.Duration
	retry  time.Duration
	some   chan struct{} // a line waits
	urgent chan struct{} // and must not wait any longer
	done   chan struct{}
	ended  chan struct{}
	left   error // why lines were left, once ended is closed
	log    atomic.Pointer[slog.Logger]
}

// NewBuffered returns a Buffered over w. Close ends it.
func NewBuffered(w io.Writer) *Buffered { return newBuffered(w, flushEvery, firstRetry) }

func newBuffered(w io.Writer, every, retry time.Duration) *Buffered {
	b := &Buffered{
		w: w, every: every, retry: retry, filling: make([]byte, 0, blockBytes),
		some: make(chan struct{}, 1), urgent: make(chan struct{}, 1), done: make(chan struct{}), ended: make(chan struct{}),
	}
	go b.run()
	return b
}

// lines writes lines of one class.
type lines struct {
	to *Buffered
	of class
}

// Write implements io.Writer. It takes one whole line, and never fails.
func (l *lines) Write(line []byte) (int, error) {
	l.to.take(l.of, line)
	return len(line), nil
}

// writerFor returns where lines of a class go.
func writerFor(w io.Writer, c class) io.Writer {
	if b, ok := w.(*Buffered); ok {
		return &lines{b, c}
	}
	return w
}

// Write implements io.Writer for a line of no particular importance.
func (b *Buffered) Write(line []byte) (int, error) {
	b.take(usual, line)
	return len(line), nil
}

func (b *Buffered) take(c class, line []byte) {
	b.mu.Lock()
	before := b.waiting
	if before > 0 && before+len(line) > c.room() {
		b.dropped[c]++
		b.mu.Unlock()
		return
	}
	fits := len(b.filling)+len(line) <= cap(b.filling)
	if !fits {
		b.nextBlock(len(line))
	}
	b.filling = append(b.filling, line...)
	b.waiting += len(line)
	behind := !fits && len(b.full) > patience
	b.mu.Unlock()
	if before == 0 {
		poke(b.some)
	}
	if c != predictions || !fits {
		poke(b.urgent)
	}
	if behind {
		runtime.Gosched() // run may be waiting for a processor; dropping lines is worse
	}
}

// nextBlock begins a block that has room for a line.
func (b *Buffered) nextBlock(room int) {
	b.full = append(b.full, b.filling)
	b.filling = nil
	if n := len(b.spare); n > 0 && room <= blockBytes {
		b.filling, b.spare = b.spare[n-1], b.spare[:n-1]
		return
	}
	b.filling = make([]byte, 0, max(room, blockBytes))
}

// takeAll returns the blocks that wait.
func (b *Buffered) takeAll() [][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nextBlock(0)
	all := b.full
	b.full, b.waiting = nil, 0
	return all
}

// giveBack keeps some blocks for later lines.
func (b *Buffered) giveBack(block []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.spare) < spareBlocks && cap(block) == blockBytes {
		b.spare = append(b.spare, block[:0])
	}
}

// poke leaves a message where none lies yet.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Dropped counts the lines that were dropped, by what they were: "prediction",
// "info" or "warning".
func (b *Buffered) Dropped() map[string]uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return map[string]uint64{"prediction": b.dropped[predictions], "info": b.dropped[usual], "warning": b.dropped[important]}
}

// Close writes what waits, until ctx ends. The error says what was left.
func (b *Buffered) Close(ctx context.Context) error {
	close(b.done)
	select {
	case <-b.ended:
		return b.left
	case <-ctx.Done():
		return fmt.Errorf("writing the rest of the log: %w", ctx.Err())
	}
}

// closePatience is how long CloseSoon takes at the most.
const closePatience = time.Second

// CloseSoon is Close for the end of a process: what cannot be written in a moment is lost,
// since it may be the log that hangs.
func (b *Buffered) CloseSoon() {
	end, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	_ = b.Close(end) // there is nowhere to tell
}

// run writes lines until Close, and then those that wait.
func (b *Buffered) run() {
	defer close(b.ended)
	var report reporter
	for closing := false; !closing; {
		select {
		case <-b.some:
			closing = b.linger()
		case <-b.done:
			closing = true
		}
		var failed error
		for _, block := range b.takeAll() {
			again, err := b.write(block)
			if err != nil {
				b.left = err
				return
			}
			failed = cmp.Or(again, failed)
			b.giveBack(block)
		}
		report.written(b, failed)
	}
}

// linger waits for more lines and reports whether b is being closed.
func (b *Buffered) linger() bool {
	t := time.NewTimer(b.every)
	defer t.Stop()
	select {
	case <-b.urgent:
	case <-t.C:
	case <-b.done:
		return true
	}
	return false
}

// write writes all of text. It tries again after a failure, from where the last
// byte was written, so that no line is cut short or begins within another. The
// first error is why it had to try again; the second, why it gave up when b was
// closed.
func (b *Buffered) write(text []byte) (failed, err error) {
	wait := b.retry
	for len(text) > 0 {
		n, err := b.w.Write(text)
		text = text[max(0, min(n, len(text))):]
		if err == nil && n > 0 {
			continue
		}
		if err == nil {
			err = io.ErrShortWrite
		}
		failed = err
		if n > 0 {
			wait = b.retry
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-b.done:
			t.Stop()
			return failed, fmt.Errorf("writing the rest of the log: %w", err)
		}
		wait = min(2*wait, lastRetry)
	}
	return failed, nil
}

// reporter tells in the log what was lost of it.
type reporter struct {
	told  uint64
	cause error
	pause *time.Timer
}

// written is called when lines have been written, with what failed meanwhile.
func (r *reporter) written(b *Buffered, failed error) {
	if failed != nil {
		r.cause = failed
	}
	b.mu.Lock()
	var dropped uint64
	for _, n := range b.dropped {
		dropped += n
	}
	b.mu.Unlock()
	log := b.log.Load()
	if log == nil || dropped == r.told && r.cause == nil {
		return
	}
	if r.pause != nil {
		select {
		case <-r.pause.C:
		default:
			return
		}
	}
	attrs := []any{"dropped", dropped - r.told}
	if r.cause != nil {
		attrs = append(attrs, "error", r.cause)
	}
	log.Warn("the log could not be written for a while", attrs...)
	r.told, r.cause, r.pause = dropped, nil, time.NewTimer(reportEvery)
}
