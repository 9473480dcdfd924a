package authoring

import (
	"errors"
	"io"
	"runtime"
	"sync"

	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/internal/table"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// decoded is all rows of a table.
type decoded struct {
	batch  *sdk.Batch
	failed []sdk.RowError
	total  int
}

// portion is some rows of a table that one goroutine decodes.
type portion struct {
	chunk   table.Chunk
	decoder *rows.Decoder
	err     error
}

// decodeAll decodes all rows of a table with all processors, in their order.
func decodeAll(t *table.Table, schema *rows.Schema) (*decoded, error) {
	const most = 1000 // rows of a portion
	portions := make([]*portion, runtime.GOMAXPROCS(0))
	for i := range portions {
		portions[i] = &portion{chunk: t.NewChunk(), decoder: schema.NewDecoder()}
	}
	out := &decoded{batch: schema.NewDecoder().Batch()}
	for {
		var busy sync.WaitGroup
		var ended error
		n := 0
		for _, p := range portions {
			if ended = t.Cut(p.chunk, most); ended != nil {
				break
			}
			n++
			busy.Go(func() {
				p.decoder.Reset()
				_, p.err = p.chunk.Decode(p.decoder)
			})
		}
		busy.Wait()
		for _, p := range portions[:n] {
			if p.err != nil {
				return nil, p.err
			}
			out.add(p.decoder)
		}
		switch {
		case errors.Is(ended, io.EOF):
			return out, nil
		case ended != nil:
			return nil, ended //nolint:wrapcheck // the caller names the file
		}
	}
}

// add appends the rows of a decoder.
func (d *decoded) add(more *rows.Decoder) {
	for _, e := range more.Failed() {
		e.Row += d.total
		d.failed = append(d.failed, e)
	}
	d.total += more.Total()
	at := d.batch.Rows()
	d.batch.Resize(at + more.Batch().Rows())
	for i := range more.Batch().Rows() {
		d.batch.CopyRow(at+i, more.Batch(), i)
	}
}
