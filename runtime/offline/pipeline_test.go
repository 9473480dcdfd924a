package offline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/internal/table"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// team is a Scorer with copies. The score of a row is its first value. It lets others run
// before it scores a chunk that begins with an even value, so that chunks do not end in
// order.
type team struct {
	s    *rows.Schema
	d    *rows.Decoder
	n    int
	fail float64 // the value at which scoring fails; 0: none
}

func newTeam(t *testing.T, n int) *team {
	t.Helper()
	m, err := manifest.Decode([]byte("apiVersion: pynomaly.io/v1\nkind: Model\nid: m\nversion: 1.0.0\nartifact: a\nfeatures: [{name: a, dtype: float64}, {name: b, dtype: float64}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	s := rows.NewSchema(m)
	return &team{s: s, d: s.NewDecoder(), n: n}
}

func (m *team) Schema() *rows.Schema { return m.s }
func (m *team) Rows() *rows.Decoder  { return m.d }
func (m *team) Warnings() []string   { return nil }

func (m *team) Copies(int) []Scorer {
	all := []Scorer{m}
	for len(all) < m.n {
		all = append(all, &team{s: m.s, d: m.s.NewDecoder(), n: m.n, fail: m.fail})
	}
	return all
}

func (m *team) Score(_ context.Context, _ int, each func(int, table.Answer) error) (int, error) {
	in, failed := m.d.Batch(), m.d.Failed()
	if in.Rows() > 0 && int(in.Float64s()[0])%2 == 0 {
		for range 100 {
			runtime.Gosched()
		}
	}
	next := 0
	for i := range m.d.Total() {
		a := table.Answer{}
		if len(failed) > 0 && failed[0].Row == i {
			a.Error, failed = failed[0].Reason, failed[1:]
		} else {
			a.Score = in.Float64s()[2*next]
			next++
			if m.fail != 0 && a.Score == m.fail {
				return 0, errors.New("the detector is gone")
			}
		}
		if err := each(i, a); err != nil {
			return 0, err
		}
	}
	return len(m.d.Failed()), nil
}

// lines returns a table of n rows; every seventh cannot be read.
func lines(n int) string {
	var b strings.Builder
	b.WriteString("a,b\n")
	for i := range n {
		if i%7 == 3 {
			fmt.Fprintf(&b, "%d,x\n", i+1)
		} else {
			fmt.Fprintf(&b, "%d,0.5\n", i+1)
		}
	}
	return b.String()
}

// TestOrder checks that any number of workers writes what one does, in the order of the
// input, in every format.
func TestOrder(t *testing.T) {
	const n = 5003
	for _, format := range []string{table.CSV, table.NDJSON, table.JSON, table.Parquet} {
		var want []byte
		for _, workers := range []int{1, 2, 5} {
			for _, batch := range []int{1, 100, 10_000} {
				m := newTeam(t, workers)
				var out bytes.Buffer
				tab, err := table.Open(table.CSV, strings.NewReader(lines(n)), &out, m.s, table.Options{Output: format})
				if err != nil {
					t.Fatal(err)
				}
				total, failed, err := Score(t.Context(), m, tab, batch)
				if err != nil || total != n || failed != (n+3)/7 {
					t.Fatalf("%s, %d workers, chunks of %d: %d rows, %d failed, %v", format, workers, batch, total, failed, err)
				}
				if want == nil {
					want = bytes.Clone(out.Bytes())
				}
				if format != table.Parquet && !bytes.Equal(out.Bytes(), want) { // the pages of Parquet follow the chunks
					t.Errorf("%s, %d workers, chunks of %d: the output differs", format, workers, batch)
				}
			}
		}
	}
}

// full is an output that takes some bytes.
type full struct{ left int }

var errFull = errors.New("no space left")

func (f *full) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// endless is an input of rows without end, which it counts.
type endless struct{ rows int }

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n+8 < len(p) {
		n += copy(p[n:], "1,0.5\n")
		e.rows++
	}
	return n, nil
}

// TestEnds checks that a failure ends all goroutines with the error of the first row that
// it concerns, whatever they wait for.
func TestEnds(t *testing.T) {
	t.Run("output", func(t *testing.T) {
		in := &endless{}
		m := newTeam(t, 3)
		tab, err := table.Open(table.CSV, io.MultiReader(strings.NewReader("a,b\n"), in), &full{left: 100_000}, m.s, table.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := Score(t.Context(), m, tab, 100); !errors.Is(err, errFull) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("scoring", func(t *testing.T) {
		m := newTeam(t, 3)
		m.fail = 1234
		tab, err := table.Open(table.CSV, strings.NewReader(lines(5000)), io.Discard, m.s, table.Options{})
		if err != nil {
			t.Fatal(err)
		}
		total, _, err := Score(t.Context(), m, tab, 100)
		if err == nil || total != 1200 || err.Error() != "scoring rows 1200 to 1299: the detector is gone" {
			t.Errorf("%d rows, %v", total, err)
		}
	})
	t.Run("reading", func(t *testing.T) {
		m := newTeam(t, 3)
		broken := errors.New("the disk is gone")
		in := io.MultiReader(strings.NewReader(lines(1000)), readerOf(func([]byte) (int, error) { return 0, broken }))
		tab, err := table.Open(table.CSV, in, io.Discard, m.s, table.Options{})
		if err != nil {
			t.Fatal(err)
		}
		total, _, err := Score(t.Context(), m, tab, 300)
		if !errors.Is(err, broken) || total != 900 || !strings.HasPrefix(err.Error(), "after row 900: ") {
			t.Errorf("%d rows, %v", total, err)
		}
	})
	t.Run("interrupt", func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		m := newTeam(t, 2)
		in := &endless{}
		read := readerOf(func(p []byte) (int, error) {
			if in.rows > 20_000 {
				stop()
			}
			return in.Read(p)
		})
		tab, err := table.Open(table.CSV, io.MultiReader(strings.NewReader("a,b\n"), read), io.Discard, m.s, table.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := Score(ctx, m, tab, 100); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("waiting input", func(t *testing.T) { // rows come, and then nothing: the output's error ends the command
		from, to, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer from.Close()
		defer to.Close()
		go func() { _, _ = to.WriteString(lines(1000)) }()
		m := newTeam(t, 2)
		_, _, err = ScoreFile(t.Context(), m, Files{
			Input: "-", Output: "-", Stdin: from, Stdout: &full{}, Format: table.CSV, Batch: 100,
			Interrupt: func() { _ = from.Close() },
			Progress:  func(int64) io.WriteCloser { return silentWriter{} },
		})
		if !errors.Is(err, errFull) {
			t.Errorf("error %v", err)
		}
	})
}

// TestNamedPipe checks that a named pipe is an input of unknown size, and that a command
// that waits for more of it ends with its context.
func TestNamedPipe(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	written := make(chan *os.File, 1)
	go func() {
		to, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err == nil {
			_, err = to.WriteString(lines(1000))
		}
		if err != nil {
			t.Error(err)
		}
		written <- to
	}()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	known := int64(0)
	_, _, err := ScoreFile(ctx, newTeam(t, 2), Files{
		Input: name, Output: "-", Stdout: writerOf(func(p []byte) (int, error) {
			stop() // rows have been written, and the reader waits for more
			return len(p), nil
		}),
		Format: table.CSV, Batch: 100,
		Progress: func(size int64) io.WriteCloser {
			known = size
			return silentWriter{}
		},
	})
	if !errors.Is(err, context.Canceled) || known != -1 {
		t.Errorf("size %d, error %v", known, err)
	}
	_ = (<-written).Close()
}

// TestBound checks that no more rows are read than chunks hold while the output waits.
func TestBound(t *testing.T) {
	in := &endless{}
	m := newTeam(t, 2)
	tab, err := table.Open(table.CSV, io.MultiReader(strings.NewReader("a,b\n"), in), &full{}, m.s, table.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Score(t.Context(), m, tab, 1000); !errors.Is(err, errFull) {
		t.Fatal(err)
	}
	const ahead = 128 << 10 / 6 // rows in the buffers of readers
	if most := (chunksOf(2)+2)*1000 + ahead; in.rows > most {
		t.Errorf("%d rows were read, at most %d are for chunks", in.rows, most)
	}
}

// TestOtherEndings checks that an ending that says another format is refused before an
// output is made.
func TestOtherEndings(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "in.csv")
	if err := os.WriteFile(in, []byte(lines(10)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"o.xlsx": "an Excel workbook", "o.XLS": "an Excel workbook", "o.avro": "Avro", "o.orc": "ORC", "o.feather": "Feather", "o.arrow": "Arrow", "o.csv.gz": "gzip",
		"o.csv": "", "o": "", "o.txt": "", "o.json": "", "o.parquet": "",
	} {
		out := filepath.Join(dir, name)
		_, _, err := ScoreFile(t.Context(), newTeam(t, 2), Files{
			Input: in, Output: out, Format: table.CSV, Batch: 100, Progress: func(int64) io.WriteCloser { return silentWriter{} },
		})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), ".csv, .ndjson, .json (an array) or .parquet")) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(out); (err == nil) != (want == "") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPipeToItsEnd checks that an input that is a pipe with a name is read to its end, and that
// its size is said to be unknown.
func TestPipeToItsEnd(t *testing.T) {
	in := filepath.Join(t.TempDir(), "in.csv")
	if err := syscall.Mkfifo(in, 0o600); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(in, []byte(lines(300)), 0o600) }()
	size := int64(0)
	total, _, err := ScoreFile(t.Context(), newTeam(t, 2), Files{
		Input: in, Output: "-", Stdout: io.Discard, Format: table.CSV, Batch: 100,
		Progress: func(n int64) io.WriteCloser { size = n; return silentWriter{} },
	})
	if total != 300 || err != nil || size != -1 {
		t.Errorf("%d rows, %v; size %d", total, err, size)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

type readerOf func([]byte) (int, error)

func (r readerOf) Read(p []byte) (int, error) { return r(p) }

type writerOf func([]byte) (int, error)

func (w writerOf) Write(p []byte) (int, error) { return w(p) }

type silentWriter struct{}

func (silentWriter) Write(p []byte) (int, error) { return len(p), nil }
func (silentWriter) Close() error                { return nil }
