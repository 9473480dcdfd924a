//go:build linux

package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/pluginlog"
	"github.com/pynomaly/pynomaly-runtime/internal/trace"
	"github.com/pynomaly/pynomaly-runtime/internal/until"
	"github.com/pynomaly/pynomaly-runtime/sdk"
	"github.com/pynomaly/pynomaly-runtime/sdk/process/pluginv1"
	"github.com/pynomaly/pynomaly-runtime/sdk/process/wire"
)

// scorer sends rows to a plugin's processes.
type scorer struct {
	program  *program
	pool     *pool
	info     sdk.Info
	features []sdk.Feature // as the plugin receives them
	widen    bool          // convert batches to float64 matrices
	log      *slog.Logger
	overdue  sync.WaitGroup // goroutines that wait for late calls or check a process
	closing  chan struct{}
	good     atomic.Pointer[sdk.Batch] // a row that was scored; nil: none yet
}

// newScorer starts the first process. It fails if that process does not start.
func newScorer(ctx context.Context, p *program) (sdk.Scorer, error) {
	m := p.model
	s := &scorer{
		program: p, log: p.backend.cfg.Log.With("model_id", m.ID, "version", m.Version), closing: make(chan struct{}),
		features: m.SDKFeatures(),
	}
	first, err := p.connect(ctx)
	if err != nil {
		return nil, err
	}
	if err = s.agree(first.said); err == nil {
		err = first.configure(ctx, s.features)
	}
	keeps := err == nil && (first.said.Stateful || m.Stateful)
	if keeps && m.LearnOnline && !first.learns {
		err = errors.New("learning: online needs a plugin that learns")
	}
	if err != nil {
		return nil, first.abandon(ctx, err)
	}
	processes := max(1, m.Processes)
	s.info = sdk.Info{
		Name: m.ID, Version: m.Version, Algorithm: first.said.Algorithm, Features: m.SDKFeatures(),
		Concurrency: processes * first.concurrency, Stateful: keeps,
	}
	if keeps {
		processes, s.info.Concurrency, first.concurrency = 1, 1, 1 // there is only one state
	}
	s.pool = newPool(processes, s.start, p.backend.cfg.Random)
	s.pool.ended = func(cause error) {
		s.log.Warn("a process of a plugin has ended; it is started again", "cause", cause)
	}
	s.pool.failed = func(err error, wait time.Duration) {
		s.log.Error("a process of a plugin does not start", "again_in", wait.String(), "error", err)
	}
	var out sdk.Scorer = s
	switch {
	case keeps:
		st := &stateful{scorer: s}
		s.pool.start = st.start
		out = st
		if first.explains {
			out = &statefulExplainer{st, explainer{s}}
		}
	case first.explains:
		out = &explainer{s}
	}
	s.pool.run(first, processes)
	return out, nil
}

// agree compares the plugin's description with the manifest and decides how the
// plugin receives batches.
func (s *scorer) agree(said *backends.Description) error {
	if err := said.Agrees(s.features); err != nil {
		return err
	}
	if said.DType == 0 {
		return nil
	}
	for _, f := range s.features {
		if f.DType == sdk.String {
			return fmt.Errorf("feature %q is a string; the plugin takes a matrix of %s", f.Name, said.DType)
		}
		s.widen = s.widen || f.DType != said.DType
	}
	if s.widen {
		features := make([]sdk.Feature, len(s.features))
		for j, f := range s.features {
			features[j] = sdk.Feature{Name: f.Name, DType: sdk.Float64}
		}
		s.features = features
	}
	return nil
}

// Usage implements backends.UsageReporter.
func (s *scorer) Usage() backends.Usage { return s.pool.usage() }

// start starts another process.
func (s *scorer) start(ctx context.Context) (*instance, error) {
	ctx, cancel := context.WithTimeout(ctx, s.program.model.Limits.LoadTimeout)
	defer cancel()
	i, err := s.program.connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := i.configure(ctx, s.features); err != nil {
		return nil, i.abandon(ctx, err)
	}
	return i, nil
}

// Info implements sdk.Scorer.
func (s *scorer) Info() sdk.Info { return s.info }

// Remote implements backends.Remote.
func (*scorer) Remote() bool { return true }

// Health implements sdk.HealthChecker.
func (s *scorer) Health(context.Context) error { return s.pool.health() }

// MemoryBytes implements sdk.MemoryUser.
func (s *scorer) MemoryBytes() int64 { return s.pool.memory() }

// Close implements sdk.Scorer.
func (s *scorer) Close() error {
	close(s.closing)
	s.pool.close()
	s.overdue.Wait()
	return s.program.close()
}

// Score implements sdk.Scorer. If the process of a batch dies, another one scores
// the batch.
func (s *scorer) Score(ctx context.Context, in *sdk.Batch, out []float64) error {
	if in.Rows() == 0 {
		return nil
	}
	ctx, cancel := standard(ctx)
	defer cancel()
	return s.again(ctx, func(i *instance) error {
		err := s.scores(ctx, i, "Score", i.api.Score, in, out)
		s.count(i, in, err)
		return err
	})
}

// explainer is a scorer whose plugin explains its scores.
type explainer struct{ *scorer }

// Explain implements sdk.Explainer.
func (e explainer) Explain(ctx context.Context, in *sdk.Batch, out []float64) error {
	if in.Rows() == 0 {
		return nil
	}
	return e.again(ctx, func(i *instance) error { return e.scores(ctx, i, "Explain", i.api.Explain, in, out) })
}

// standard returns a standard context with ctx's deadline and span, if ctx only has a
// deadline. gRPC starts a goroutine per call for other implementations of
// context.Context.
func standard(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := until.Only(ctx); ok {
		return context.WithDeadline(trace.With(context.Background(), until.SpanOf(ctx)), deadline)
	}
	return ctx, func() {}
}

// again makes a call, and repeats it once if that may help. The second time the call
// has exclusive use of a process, because another call may have ended the first one.
func (s *scorer) again(ctx context.Context, call func(*instance) error) error {
	err := s.call(ctx, false, call)
	var lost *lostError
	if errors.As(err, &lost) && !s.info.Stateful {
		err = s.call(ctx, lost.broken, call)
	}
	switch {
	case !errors.As(err, &lost):
		return err
	case !lost.broken:
		return &backends.DownError{Reason: lost.cause.Error(), RetryAfter: time.Second}
	case s.info.Stateful:
		return lost.cause
	}
	// Repeating this call would end the next process, too.
	return &backends.DownError{
		Reason: withWords(fmt.Sprintf("two processes ended while they scored this: %v", lost.cause), lost.words), RetryAfter: firstBackoff, Suspect: true,
	}
}

// lostError says that a call may be repeated.
type lostError struct {
	cause  error
	broken bool   // the process ended, too
	words  string // the last that it printed; only the host's operators may read it
}

// withWords adds the last words of a process to the reason for its end.
func withWords(reason, words string) string {
	if words == "" {
		return reason
	}
	return reason + "; it printed: " + words
}

func (e *lostError) Error() string { return e.cause.Error() }

// call makes a call in a slot of a process.
func (s *scorer) call(ctx context.Context, alone bool, call func(*instance) error) error {
	i, err := s.pool.acquire(ctx, alone)
	if err != nil {
		return err
	}
	returned := false
	defer func() {
		if !returned { // this package's own code panicked
			s.pool.release(i)
		}
	}()
	err = call(i)
	returned = true
	var rows *sdk.RowErrors
	switch {
	case err == nil, errors.As(err, &rows):
		s.pool.release(i)
		return err
	case ctx.Err() != nil, overdue(ctx, err):
		s.wait(i)
		return cmp.Or(ctx.Err(), context.DeadlineExceeded)
	case status.Code(err) == codes.Unavailable, i.proc.over():
		return s.lost(i, err)
	}
	if i.faults.Load() >= mostFaults {
		s.doubt(i, err)
	} else {
		s.pool.release(i)
	}
	return translate(err)
}

// overdue reports whether a call ended with its deadline, which the plugin may
// notice first.
func overdue(ctx context.Context, err error) bool {
	const skew = 20 * time.Millisecond
	code := status.Code(err)
	deadline, ok := ctx.Deadline()
	return ok && (code == codes.Canceled || code == codes.DeadlineExceeded) && time.Until(deadline) < skew
}

// lost returns a *lostError after a call that may be repeated, and ends the process
// if its connection broke.
func (s *scorer) lost(i *instance, err error) error {
	const settle = 100 * time.Millisecond
	select {
	case <-i.proc.ending:
	case <-time.After(settle):
		if i.conn.GetState() == connectivity.Ready {
			s.pool.release(i)
			return &lostError{cause: errors.New("the plugin asks for the call to be repeated: " + message(err))}
		}
	}
	select {
	case <-i.proc.ending:
	case <-time.After(endTime):
	}
	s.pool.lose(i, errors.New("it was ended: its connection broke"))
	s.pool.release(i)
	select {
	case <-i.proc.done:
	case <-time.After(endWait): // it cannot be killed, for example while in a driver
	}
	cause := fmt.Errorf("the plugin's process: %w", i.proc.ended())
	return &lostError{cause: cause, broken: true, words: i.proc.log.TailBeside(cause.Error())}
}

// message returns the text of a status.
func message(err error) string {
	return pluginlog.Text([]byte(status.Convert(err).Message()))
}

// opener opens a call of the protocol that returns numbers.
type opener func(context.Context, ...grpc.CallOption) (grpc.ClientStreamingClient[pluginv1.ScoreChunk, pluginv1.ScoreResult], error)

// scores makes one call that returns numbers.
func (s *scorer) scores(ctx context.Context, i *instance, method string, open opener, in *sdk.Batch, out []float64) (err error) {
	ctx, end := traced(ctx, i, method)
	defer func() { end(err) }()
	in, failed := s.convert(in)
	stream, err := open(ctx, grpc.MaxCallRecvMsgSize(answerSize(in.Rows(), len(out))))
	if err != nil {
		return err
	}
	if err := wire.Send(in, stream.Send); err != nil && !errors.Is(err, io.EOF) { // io.EOF: the response says why
		return err
	}
	answer, err := stream.CloseAndRecv()
	if err != nil {
		return err
	}
	if len(answer.GetScores()) != 8*len(out) {
		return fmt.Errorf("%w: the plugin answered with %d numbers for %d rows, not with %d", wire.ErrMalformed, len(answer.GetScores())/8, in.Rows(), len(out))
	}
	rows, err := wire.RowErrors(answer.GetErrors(), in.Rows())
	if err != nil {
		return err
	}
	wire.Float64s(out, answer.GetScores())
	return join(failed, rows)
}

// Decoding a response of many empty errors takes forty times its size, so a response
// may not be larger than needed.
const (
	smallAnswer = 1 << 20
	rowAnswer   = 256 // bytes for one row error
)

func answerSize(rows, numbers int) int { return 64<<10 + rows*rowAnswer + 8*numbers }

// convert makes the batch that the plugin takes, and lists the rows that it cannot
// represent.
func (s *scorer) convert(in *sdk.Batch) (*sdk.Batch, []sdk.RowError) {
	if !s.widen {
		return in, nil
	}
	out := sdk.NewBatch(s.features)
	out.Resize(in.Rows())
	d := len(s.features)
	var failed []sdk.RowError
	for r := range in.Rows() {
		bad := -1
		for j := range d {
			v, exact := backends.Widen(in.Column(j), r)
			if !exact && bad < 0 {
				bad = j
			}
			out.Float64s()[r*d+j] = v
		}
		if bad >= 0 {
			failed = append(failed, sdk.RowError{Row: r, Field: s.features[bad].Name, Reason: backends.Inexact})
		}
	}
	return out, failed
}

// join joins the rows that failed here with those that failed in the plugin.
func join(here []sdk.RowError, there *sdk.RowErrors) error {
	all := &sdk.RowErrors{Rows: here}
	if there != nil {
		all.Rows = append(all.Rows, there.Rows...)
	}
	if len(all.Rows) == 0 {
		return nil
	}
	slices.SortStableFunc(all.Rows, func(a, b sdk.RowError) int { return a.Row - b.Row })
	all.Rows = slices.CompactFunc(all.Rows, func(a, b sdk.RowError) bool { return a.Row == b.Row })
	return all
}
