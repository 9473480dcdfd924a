package predict

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/jsonscan"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Sample is a scored row.
type Sample struct {
	Data  []byte  // JSON
	Score float64 // oriented
}

const (
	sampleEvery = 10 * time.Millisecond // at most 100 rows per second are kept
	sampleBytes = 16 << 10              // longer rows are not kept
	sampleAmong = 100                   // a row is chosen from this many first rows of a batch
	sampledMost = 64                    // versions whose rows are kept
)

// Samples keeps some of the scored rows with their scores, to compare another
// version with this one. It keeps the newest size rows of each version.
type Samples struct {
	size int
	only []string     // models whose rows are kept; empty: all
	next atomic.Int64 // when the next row may be kept, in nanoseconds since 1970
	turn atomic.Uint64

	mu    sync.Mutex
	rings map[string]*ring // by id and version
}

type ring struct {
	rows   []Sample
	at     int
	total  uint64
	newest time.Time
}

// due reports whether a row may be kept now. It returns true to only one of several
// concurrent callers.
func (s *Samples) due(now time.Time) bool {
	if s.size == 0 {
		return false
	}
	next, t := s.next.Load(), now.UnixNano()
	return t >= next && s.next.CompareAndSwap(next, t+int64(sampleEvery))
}

// keep stores a row, a JSON value, with only its features.
func (s *Samples) keep(m *model.Model, now time.Time, row []byte, score float64) {
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
	sample := Sample{Data: row, Score: score}
	if len(r.rows) < s.size {
		r.rows = append(r.rows, sample)
	} else {
		r.rows[r.at] = sample
	}
	r.at = (r.at + 1) % s.size
	r.total++
	r.newest = now
}

// featuresOnly copies a row without the members that are not features. The model
// ignores them, and they may be personal data that readers of samples do not need.
// It returns nil for a row that it does not understand.
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

// drop forgets the version whose samples were read least recently.
func (s *Samples) drop() {
	oldest := ""
	for key, r := range s.rings {
		if oldest == "" || r.newest.Before(s.rings[oldest].newest) {
			oldest = key
		}
	}
	delete(s.rings, oldest)
}

// Of returns up to most rows of a version after the cursor, oldest first, with the
// total kept and the next cursor.
func (s *Samples) Of(id, version string, after uint64, most int) (rows []Sample, total, next uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rings[id+"@"+version]
	if r == nil {
		return []Sample{}, 0, 0
	}
	first := r.total - uint64(len(r.rows)) // index of the oldest row that is still kept
	from := min(max(after, first), r.total)
	rows = make([]Sample, min(r.total-from, uint64(most)))
	for i := range rows {
		rows[i] = r.rows[(uint64(r.at%len(r.rows))+from-first+uint64(i))%uint64(len(r.rows))]
	}
	return rows, r.total, from + uint64(len(rows))
}

// NotKept returns why rows of a model are not kept and may not be replayed to it, or
// "".
func NotKept(m *manifest.Manifest) string {
	switch {
	case m.Stateful:
		return "it keeps a state, which replayed rows would change"
	case m.BatchDependent:
		return "its scores depend on the other rows of a call"
	}
	return ""
}

// Names reports whether the configuration lets rows of a model be kept.
func (s *Samples) Names(id string) bool { return len(s.only) == 0 || slices.Contains(s.only, id) }

// keeps reports whether a row of a call should be kept.
func (s *Samples) keeps(c *Call, r *Result) bool {
	return s.size > 0 && c.Data != nil && NotKept(r.Model.Manifest) == "" && s.Names(r.Model.ID()) && s.due(r.Time)
}

// keepRow keeps the row of a single call now and then.
func (s *Samples) keepRow(c *Call, r *Result) {
	if s.keeps(c, r) {
		s.keep(r.Model, r.Time, c.Data, r.scores[0])
	}
}

// keepOne keeps one row of a batch now and then, if all its rows were scored.
func (s *Samples) keepOne(c *Call, r *Result) {
	if r.Failed > 0 || !s.keeps(c, r) {
		return
	}
	n := int(s.turn.Add(1) % uint64(min(len(r.scores), sampleAmong)))
	if row := nth(c.Data, n); row != nil {
		s.keep(r.Model, r.Time, row, r.scores[n])
	}
}

// nth returns element n of a well-formed JSON array.
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
