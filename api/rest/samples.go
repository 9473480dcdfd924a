package rest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/jsonscan"
	"github.com/pynomaly/pynomaly-runtime/runtime"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

const (
	sampleEvery = 10 * time.Millisecond // no more than 100 rows a second are kept
	sampleBytes = 16 << 10              // longer rows are not kept
	sampleAmong = 100                   // of a batch, one of so many first rows
	sampledMost = 64                    // versions whose rows are kept
)

// sampler keeps some of the rows that were scored, with their scores, for comparing
// another version with this one. It keeps size rows a version, the newest.
type sampler struct {
	size int
	only []string     // models whose rows are kept; empty: all
	next atomic.Int64 // when the next row is kept, in nanoseconds since 1970
	turn atomic.Uint64

	mu    sync.Mutex
	rings map[string]*ring // by id and version
}

type ring struct {
	rows   []api.Sample
	at     int
	total  uint64
	newest time.Time
}

// due reports whether a row may be kept now; of concurrent callers one is told so.
func (s *sampler) due(now time.Time) bool {
	if s.size == 0 {
		return false
	}
	next, t := s.next.Load(), now.UnixNano()
	return t >= next && s.next.CompareAndSwap(next, t+int64(sampleEvery))
}

// keep remembers a row, a JSON value of which the features are copied.
func (s *sampler) keep(m *runtime.Model, now time.Time, row []byte, score float64) {
	if len(row) > sampleBytes || math.IsNaN(score) || math.IsInf(score, 0) {
		return
	}
	row = featuresOnly(row, m.Manifest.SDKFeatures())
	if !json.Valid(row) {
		return
	}
	key := m.ID() + "@" + m.Version()
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rings[key]
	if r == nil {
		if len(s.rings) >= sampledMost {
			s.drop()
		}
		r = &ring{}
		s.rings[key] = r
	}
	sample := api.Sample{Data: row, Score: score}
	if len(r.rows) < s.size {
		r.rows = append(r.rows, sample)
	} else {
		r.rows[r.at] = sample
	}
	r.at = (r.at + 1) % s.size
	r.total++
	r.newest = now
}

// featuresOnly copies a row that was read without the members that are no features:
// the model ignores them, and nobody who looks at samples needs a name or a number of
// an account. It returns nil for what it does not understand.
func featuresOnly(row []byte, features []sdk.Feature) []byte {
	sc := &jsonscan.Scanner{Data: row}
	if !sc.Take('{') {
		return bytes.Clone(row) // values in the order of the features
	}
	out := []byte{'{'}
	for first := true; ; first = false {
		more, err := sc.More('}', first)
		if err != nil {
			return nil
		}
		if !more {
			return append(out, '}')
		}
		sc.Peek()
		start := sc.Pos
		name, err := sc.String(nil)
		if err != nil || sc.Colon() != nil || sc.Skip() != nil {
			return nil
		}
		if !slices.ContainsFunc(features, func(f sdk.Feature) bool { return f.Name == string(name) }) {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, row[start:sc.Pos]...)
	}
}

// drop forgets the version that was asked least recently.
func (s *sampler) drop() {
	oldest := ""
	for key, r := range s.rings {
		if oldest == "" || r.newest.Before(s.rings[oldest].newest) {
			oldest = key
		}
	}
	delete(s.rings, oldest)
}

// of lists a version's rows, the oldest first and at most so many, without the first
// that were kept; how many were kept in all; and how many of them lie before the next.
func (s *sampler) of(m *runtime.Model, after uint64, most int) (rows []api.Sample, total, next uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rings[m.ID()+"@"+m.Version()]
	if r == nil {
		return []api.Sample{}, 0, 0
	}
	first := r.total - uint64(len(r.rows)) // of those that are there yet
	from := min(max(after, first), r.total)
	rows = make([]api.Sample, min(r.total-from, uint64(most)))
	for i := range rows {
		rows[i] = r.rows[(uint64(r.at%len(r.rows))+from-first+uint64(i))%uint64(len(r.rows))]
	}
	return rows, r.total, from + uint64(len(rows))
}

// notKept says why no rows of a model are kept, or replayed to it.
func notKept(m *runtime.Model) string {
	switch {
	case m.Manifest.Stateful:
		return "it keeps a state, which replayed rows would change"
	case m.Manifest.BatchDependent:
		return "its scores depend on the other rows of a call"
	}
	return ""
}

// samples reports whether rows of a model are kept.
func (s *Server) samples(m *runtime.Model) bool {
	return s.sampler.size > 0 && notKept(m) == "" && s.sampler.names(m.ID())
}

// names reports whether rows of a model may be kept.
func (s *sampler) names(id string) bool { return len(s.only) == 0 || slices.Contains(s.only, id) }

// sampleRow keeps the row of a single request, now and then.
func (s *Server) sampleRow(r *request, m *runtime.Model, now time.Time, score float64) {
	if s.samples(m) && s.sampler.due(now) {
		s.sampler.keep(m, now, r.data, score)
	}
}

// sampleBatch keeps one row of a batch whose rows all were scored, now and then.
func (s *Server) sampleBatch(r *request, m *runtime.Model, now time.Time, scores []float64) {
	if !s.samples(m) || len(scores) != r.rows.Total() || !s.sampler.due(now) {
		return
	}
	n := int(s.sampler.turn.Add(1) % uint64(min(len(scores), sampleAmong)))
	if row := nth(r.data, n); row != nil {
		s.sampler.keep(m, now, row, scores[n])
	}
}

// nth is element n of a JSON array that is known to be well-formed.
func nth(array []byte, n int) []byte {
	sc := &jsonscan.Scanner{Data: array}
	if !sc.Take('[') {
		return nil
	}
	for i := 0; ; i++ {
		if more, err := sc.More(']', i == 0); err != nil || !more {
			return nil
		}
		sc.Peek()
		start := sc.Pos
		if sc.Skip() != nil {
			return nil
		}
		if i == n {
			return array[start:sc.Pos]
		}
	}
}

// sampling lets a request for samples pass: with the token where one is configured, else
// like the routes that change the host.
func (s *Server) sampling(c *fiber.Ctx) error {
	if s.cfg.Samples == 0 {
		return s.fail(c, nil, api.NewProblem(api.NotFound, "", "this host keeps no samples: set server.samples.size"))
	}
	want := s.cfg.SamplesTokenSHA256
	if s.cfg.SamplesToken != "" {
		want = hexOf(s.cfg.SamplesToken)
	}
	if want == "" {
		return s.managed(c)
	}
	given, ok := strings.CutPrefix(c.Get(fiber.HeaderAuthorization), "Bearer ")
	if !ok || subtle.ConstantTimeCompare([]byte(want), []byte(hexOf(given))) != 1 {
		c.Set(fiber.HeaderWWWAuthenticate, `Bearer realm="samples"`)
		return s.fail(c, nil, api.NewProblem(api.Unauthorized, "Authorization", "samples are shown to who has the token of server.samples.token"))
	}
	return c.Next()
}

func hexOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// getSamples answers GET /api/v1/models/{id}/samples.
func (s *Server) getSamples(c *fiber.Ctx) error {
	id, err := s.pathID(c)
	if err != nil {
		return s.fail(c, nil, err)
	}
	version, err := pathVersion(c)
	if err != nil {
		return s.fail(c, nil, err)
	}
	m, err := s.registry.Peek(id, version)
	if err != nil {
		return s.fail(c, nil, err)
	}
	after, err := queryNumber(c, "after", 0)
	if err != nil {
		return s.fail(c, nil, err)
	}
	limit, err := queryNumber(c, "limit", maxBatchSize)
	if err != nil {
		return s.fail(c, nil, err)
	}
	why := notKept(m)
	if why == "" && !s.sampler.names(id) {
		why = "server.samples.models does not name it"
	}
	rows, total, next := s.sampler.of(m, after, int(min(limit, maxBatchSize)))
	return s.json(c, api.Samples{
		ModelID: id, Version: m.Version(), ProcessStartTime: s.started.UTC(), Threshold: m.Manifest.Threshold, Total: total, Next: next, Rows: rows, NotKept: why,
	})
}

// queryNumber reads a whole number from the query.
func queryNumber(c *fiber.Ctx, name string, other uint64) (uint64, error) {
	text := c.Context().QueryArgs().Peek(name)
	if text == nil {
		return other, nil
	}
	n, err := strconv.ParseUint(string(text), 10, 63)
	if err != nil {
		return 0, api.NewProblem(api.ValidationError, name, "must be a whole number, 0 or more")
	}
	return n, nil
}

// replay answers POST /api/v1/models/{id}/samples: rows are scored and counted nowhere.
func (s *Server) replay(c *fiber.Ctx) error {
	return s.onRows(c, false, func(ctx context.Context, r *request) (any, error) {
		m := r.lease.Model()
		if why := notKept(m); why != "" {
			return nil, api.NewProblem(api.Conflict, "", "rows are not replayed to %s: %s", m.ID(), why)
		}
		out := make([]float64, r.rows.Batch().Rows())
		failed, err := m.Replay(ctx, r.rows.Batch(), defaultBatchSize, out)
		if err != nil {
			return nil, err
		}
		for _, f := range failed {
			out[f.Row] = math.NaN()
		}
		a := api.Replayed{ModelID: m.ID(), Version: m.Version(), Threshold: m.Manifest.Threshold, Scores: make([]*float64, r.rows.Total())}
		unread, next := r.rows.Failed(), 0
		for i := range a.Scores {
			if len(unread) > 0 && unread[0].Row == i {
				unread = unread[1:]
				continue
			}
			if v := out[next]; !math.IsNaN(v) && !math.IsInf(v, 0) {
				a.Scores[i] = &v
			}
			next++
		}
		return a, nil
	})
}
