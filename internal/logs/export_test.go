package logs

import (
	"context"
	"io"
	"time"
)

// NewBufferedEvery is NewBuffered with other intervals.
func NewBufferedEvery(w io.Writer, every, retry time.Duration) *Buffered {
	return newBuffered(w, every, retry)
}

// BufferBytes is the largest number of bytes that wait to be written.
const BufferBytes = bufferBytes

// Ended waits until no more is written. It returns false if ctx ends before.
func (b *Buffered) Ended(ctx context.Context) bool {
	select {
	case <-b.ended:
		return true
	case <-ctx.Done():
		return false
	}
}
