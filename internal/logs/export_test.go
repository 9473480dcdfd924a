package logs

import (
	"context"
	"io"
	"time"
)

// NewBufferedEvery is NewBuffered with its own times.
func NewBufferedEvery(w io.Writer, every, retry time.Duration) *Buffered {
	return newBuffered(w, every, retry)
}

// BufferBytes is the most that waits to be written.
const BufferBytes = bufferBytes

// Ended waits until nothing more is written, and reports whether that came to
// pass before ctx ended.
func (b *Buffered) Ended(ctx context.Context) bool {
	select {
	case <-b.ended:
		return true
	case <-ctx.Done():
		return false
	}
}
