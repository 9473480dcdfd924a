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

// class says how important a line is while the log cannot be written.
type class int

const (
	predictions class = iota // dropped first
	usual
	important // warnings, errors and the audit log
	classes
)

const (
	bufferBytes = 4 << 20  // most bytes that wait to be written
	blockBytes  = 64 << 10 // bytes that are written at once
	spareBlocks = 8        // blocks that are kept for reuse
	patience    = 2        // blocks that may wait while run has no processor
	flushEvery  = 100 * time.Millisecond
	firstRetry  = 100 * time.Millisecond
	lastRetry   = 5 * time.Second
	reportEvery = 10 * time.Second
)

// room returns how much of the buffer lines of the class may fill.
func (c class) room() int { return bufferBytes / 4 * (int(c) + 2) }

// Buffered accepts lines without waiting for the writer below it, to which one
// goroutine writes them. While that writer fails or stalls, lines stay in a buffer
// of a few megabytes. Prediction lines are dropped if it is more than half full,
// other lines above three quarters, and warnings, errors and audit lines when it is
// full.
//
// Prediction lines may wait for 100 ms, so that not every request costs a system
// call. All other lines are written at once, together with what waits before them.
type Buffered struct {
	mu      sync.Mutex
	filling []byte   // the block to which lines are added
	full    [][]byte // the blocks before it
	waiting int      // bytes in all blocks
	spare   [][]byte
	dropped [classes]uint64

	w      io.Writer
	every  time.Duration
	retry  time.Duration
	some   chan struct{} // a line waits
	urgent chan struct{} // a line must be written now
	done   chan struct{}
	ended  chan struct{}
	left   error // why lines were not written; valid when ended is closed
	log    atomic.Pointer[slog.Logger]
}

// NewBuffered returns a Buffered that writes to w. Call Close to end it.
func NewBuffered(w io.Writer) *Buffered { return newBuffered(w, flushEvery, firstRetry) }

func newBuffered(w io.Writer, every, retry time.Duration) *Buffered {
	b := &Buffered{
		w: w, every: every, retry: retry, filling: make([]byte, 0, blockBytes),
		some: make(chan struct{}, 1), urgent: make(chan struct{}, 1), done: make(chan struct{}), ended: make(chan struct{}),
	}
	go b.run()
	return b
}

// lines accepts lines of one class.
type lines struct {
	to *Buffered
	of class
}

// Write implements io.Writer. It takes one whole line and never fails.
func (l *lines) Write(line []byte) (int, error) {
	l.to.take(l.of, line)
	return len(line), nil
}

// writerFor returns the writer for lines of a class.
func writerFor(w io.Writer, c class) io.Writer {
	if b, ok := w.(*Buffered); ok {
		return &lines{b, c}
	}
	return w
}

// Write implements io.Writer for lines of ordinary importance.
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

// takeAll returns the waiting blocks.
func (b *Buffered) takeAll() [][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nextBlock(0)
	all := b.full
	b.full, b.waiting = nil, 0
	return all
}

// giveBack keeps some blocks for reuse.
func (b *Buffered) giveBack(block []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.spare) < spareBlocks && cap(block) == blockBytes {
		b.spare = append(b.spare, block[:0])
	}
}

// poke sends a value unless one is pending.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Dropped returns how many lines were dropped, by kind: "prediction", "info" or
// "warning".
func (b *Buffered) Dropped() map[string]uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return map[string]uint64{"prediction": b.dropped[predictions], "info": b.dropped[usual], "warning": b.dropped[important]}
}

// Close writes the waiting lines until ctx ends. It returns why lines remain, or
// nil.
func (b *Buffered) Close(ctx context.Context) error {
	close(b.done)
	select {
	case <-b.ended:
		return b.left
	case <-ctx.Done():
		return fmt.Errorf("writing the rest of the log: %w", ctx.Err())
	}
}

// closePatience is the time limit of CloseSoon.
const closePatience = time.Second

// CloseSoon is Close for the end of the process. It drops what cannot be written
// within a second, because the log itself may be what hangs.
func (b *Buffered) CloseSoon() {
	end, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	_ = b.Close(end) // the error cannot be logged
}

// run writes lines until Close, and then the remaining ones.
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

// write writes all of text. After a failure it continues at the byte where writing
// stopped, so that no line is damaged. failed is the first failure after which it
// tried again. err is why it gave up when b was closed.
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

// reporter logs what was lost.
type reporter struct {
	told  uint64
	cause error
	pause *time.Timer
}

// written is called after lines have been written, with the first failure before
// that.
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
