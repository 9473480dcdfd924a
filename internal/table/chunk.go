package table

import (
	"github.com/pynomaly/pynomaly-runtime/internal/rows"
)

// Table copies rows from input to output and adds answers.
//
// A caller with one goroutine uses Read, Write and Close. A caller with several cuts the
// input into chunks: Cut, Put and Close are for one goroutine at a time each, in the
// order of the input, and what the chunks do in between may happen at the same time.
type Table struct {
	rowFormat
	read    Chunk // of the last Read
	pending bool  // its rows have not been written
}

// Chunk is some consecutive rows of a table. One goroutine at a time may use it.
type Chunk interface {
	// Decode reads the rows into d, and returns how many there are. Rows that cannot be
	// used are in d.Failed. d and the batch of d are in use until the last Write.
	Decode(d *rows.Decoder) (int, error)
	// Write encodes row i of the chunk with its answer. Call it for each row, in order.
	Write(i int, a Answer) error
	// Size returns about how many bytes the chunk was in the input.
	Size() int
}

// rowFormat reads and writes the chunks of a table. Chunks are its own.
type rowFormat interface {
	// NewChunk returns a chunk without rows, which can be used again and again.
	NewChunk() Chunk
	// Cut puts the next rows of the input into c, up to most. It returns io.EOF if there
	// is none. After another error nothing more can be read.
	Cut(c Chunk, most int) error
	// Put writes the encoded rows of a chunk to the output.
	Put(c Chunk) error
	end() error
}

// Read reads up to most rows into d. It returns 0 and io.EOF at the end. Rows that cannot
// be used are in d.Failed. After another error nothing more can be read.
func (t *Table) Read(d *rows.Decoder, most int) (int, error) {
	if err := t.flush(); err != nil {
		return 0, err
	}
	if t.read == nil {
		t.read = t.NewChunk()
	}
	if err := t.Cut(t.read, most); err != nil {
		return 0, err //nolint:wrapcheck // the format says what it was reading
	}
	return t.read.Decode(d) //nolint:wrapcheck // the format says what it was reading
}

// Write writes row i of the last Read with its answer. Call it for each row, in order.
func (t *Table) Write(i int, a Answer) error {
	t.pending = true
	return t.read.Write(i, a) //nolint:wrapcheck // the format says what it was writing
}

// flush writes the rows of the last Read.
func (t *Table) flush() error {
	if !t.pending {
		return nil
	}
	t.pending = false
	return t.Put(t.read) //nolint:wrapcheck // the format says what it was writing
}

// Close writes what is left. It does not close the files.
func (t *Table) Close() error {
	if err := t.flush(); err != nil {
		return err
	}
	return t.end() //nolint:wrapcheck // the format says what it was writing
}
