package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/pynomaly/pynomaly-runtime/internal/table"
)

// Parallel is a Scorer whose model can score several chunks of rows at the same time.
type Parallel interface {
	Scorer
	// Copies returns up to n Scorers of the same model: this one and others, which are
	// released with this one. Each may have a goroutine of its own. It returns one if
	// the answers depend on the rows before.
	Copies(n int) []Scorer
}

// Score scores the rows of a table chunk by chunk, writes each with its answer in the
// order of the input, and closes the table. It returns how many rows there were and how
// many of them failed. An error that ends it names the row.
//
// A chunk has batch rows. One goroutine reads chunks, as many as there are processors
// decode, score and encode them if s is Parallel, and the caller's writes them. Score
// returns when all have ended.
func Score(ctx context.Context, s Scorer, t *table.Table, batch int) (total, failed int, err error) {
	return scoreTable(ctx, s, t, batch, func() {})
}

// scoreTable is Score. It calls interrupt once it ends or ctx does, so that a read of the
// input that waits for more ends.
func scoreTable(ctx context.Context, s Scorer, t *table.Table, batch int, interrupt func()) (total, failed int, err error) {
	by := []Scorer{s}
	if p, ok := s.(Parallel); ok {
		by = p.Copies(runtime.GOMAXPROCS(0))
	}
	p := newPipeline(t, batch, chunksOf(len(by)))
	outer := ctx
	ctx, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() { p.read(ctx) })
	all.Go(func() {
		<-ctx.Done()
		interrupt()
	})
	for _, s := range by {
		all.Go(func() { p.score(ctx, s) })
	}
	total, failed, err = p.write()
	if ended := outer.Err(); ended != nil && (err != nil || !p.ended) { // it explains what a read or a call says
		err = fmt.Errorf("after row %d: %w", total, ended)
	}
	stop()
	all.Wait()
	if err != nil {
		return total, failed, err
	}
	return total, failed, t.Close() //nolint:wrapcheck // the table says what it was writing
}

// chunksOf returns how many chunks there are for a number of workers: enough that they
// have work while the writer compresses a row group.
func chunksOf(workers int) int {
	if workers == 1 {
		return 4
	}
	return 8 * workers
}

// inFlight is how many bytes of input may be in chunks at once, if that is more than one
// chunk.
const inFlight = 64 << 20

// pipeline passes chunks from a reader to workers and to a writer.
type pipeline struct {
	table *table.Table
	batch int
	jobs  int       // chunks in all
	free  chan *job // chunks to fill
	todo  chan *job // chunks to score
	order chan *job // the same chunks, for the writer
	ended bool      // the input has been read to its end; valid once order is closed
}

// job is a chunk on its way.
type job struct {
	chunk        table.Chunk
	rows, failed int
	err          error
	unread       bool          // err is about reading rows
	done         chan struct{} // receives when the job may be written
}

func newPipeline(t *table.Table, batch, jobs int) *pipeline {
	// No send of a job blocks: each channel holds all.
	p := &pipeline{table: t, batch: batch, jobs: jobs, free: make(chan *job, jobs), todo: make(chan *job, jobs), order: make(chan *job, jobs)}
	for range jobs {
		p.free <- &job{chunk: t.NewChunk(), done: make(chan struct{}, 1)}
	}
	return p
}

// read cuts the input into chunks, until it ends or ctx does.
func (p *pipeline) read(ctx context.Context) {
	defer close(p.todo)
	defer close(p.order)
	var idle []*job
	bytes, last := 0, 0 // of the chunks on their way, and of the last one
	for {
		for len(idle) == 0 || (bytes > 0 && bytes+last > inFlight) {
			select {
			case j := <-p.free:
				bytes -= j.chunk.Size()
				idle = append(idle, j)
			case <-ctx.Done():
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
		j := idle[len(idle)-1]
		idle = idle[:len(idle)-1]
		j.err = p.table.Cut(j.chunk, p.batch)
		if errors.Is(j.err, io.EOF) {
			p.ended = true
			return
		}
		if j.unread = j.err != nil; j.unread {
			j.done <- struct{}{}
			p.order <- j
			return
		}
		last = j.chunk.Size()
		bytes += last
		p.order <- j
		p.todo <- j
	}
}

// score decodes, scores and encodes chunks.
func (p *pipeline) score(ctx context.Context, s Scorer) {
	for j := range p.todo {
		s.Rows().Reset()
		if j.rows, j.err = j.chunk.Decode(s.Rows()); j.err != nil {
			j.unread = true
		} else {
			j.failed, j.err = s.Score(ctx, p.batch, j.chunk.Write)
		}
		j.done <- struct{}{}
	}
}

// write writes the chunks in order.
func (p *pipeline) write() (total, failed int, err error) {
	for j := range p.order {
		<-j.done
		if j.err == nil {
			j.err = p.table.Put(j.chunk)
		}
		switch {
		case j.unread:
			return total, failed, fmt.Errorf("after row %d: %w", total, j.err)
		case j.err != nil:
			return total, failed, fmt.Errorf("scoring rows %d to %d: %w", total, total+j.rows-1, j.err)
		}
		total += j.rows
		failed += j.failed
		p.free <- j
	}
	return total, failed, nil
}
